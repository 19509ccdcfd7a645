"""Floor 4: reservoirs. A large random net that is not trained, and a readout that is solved for."""

from recurra.reservoir.compose import DeepReservoir, ParallelReservoir
from recurra.reservoir.echo_state import EchoStateNetwork
from recurra.reservoir.layer import ReservoirLayer
from recurra.reservoir.liquid import Liquid
from recurra.reservoir.reservoir import Reservoir
from recurra.reservoir.ridge import Ridge

__all__ = [
    "DeepReservoir",
    "EchoStateNetwork",
    "Liquid",
    "ParallelReservoir",
    "Reservoir",
    "ReservoirLayer",
    "Ridge",
]
