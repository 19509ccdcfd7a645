"""Floor 2a: one file per cell, equations and a docstring. `CELLS` is the registry; does not import torch."""

from recurra.base.registry import Registry
from recurra.cells.coupled_lstm import CoupledLSTM
from recurra.cells.elman import Elman
from recurra.cells.gru import GRU
from recurra.cells.gru_v1 import GRUv1
from recurra.cells.jordan import Jordan
from recurra.cells.layer_norm_lstm import LayerNormLSTM
from recurra.cells.lstm import LSTM
from recurra.cells.min_gru import MinGRU
from recurra.cells.min_lstm import MinLSTM
from recurra.cells.minimal_gated_unit import MinimalGatedUnit
from recurra.cells.peephole_lstm import PeepholeLSTM
from recurra.cells.qrnn import QRNN
from recurra.cells.relu_rnn import ReluRNN
from recurra.cells.rglru import RGLRU
from recurra.cells.sru import SRU
from recurra.equations.cell import Cell

__all__ = ["CELLS"]

CELLS: Registry[type[Cell]] = Registry("cell")
for _cell in (
    Elman,
    ReluRNN,
    Jordan,
    LSTM,
    PeepholeLSTM,
    CoupledLSTM,
    LayerNormLSTM,
    GRU,
    GRUv1,
    MinimalGatedUnit,
    MinGRU,
    MinLSTM,
    SRU,
    QRNN,
    RGLRU,
):
    CELLS.add(_cell().name, _cell)
