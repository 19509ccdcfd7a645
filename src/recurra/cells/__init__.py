"""Floor 2a: one file per cell, equations and a docstring. `CELLS` is the registry; does not import torch.

`CELLS[name]` also gives the cells of users (`mine.py:Name`, once loaded) and of installed packages (entry points
`recurra.cells`). The six variants that Greff et al. get by leaving something out share one file.
"""

from recurra.base.registry import Registry
from recurra.cells.co_rnn import CoRNN
from recurra.cells.coupled_lstm import CoupledLSTM
from recurra.cells.elman import Elman
from recurra.cells.fast_grnn import FastGRNN
from recurra.cells.full_recurrence_lstm import FullRecurrenceLSTM
from recurra.cells.gru import GRU
from recurra.cells.gru_v1 import GRUv1
from recurra.cells.ind_rnn import IndRNN
from recurra.cells.janet import JANET
from recurra.cells.jordan import Jordan
from recurra.cells.layer_norm_lstm import LayerNormLSTM
from recurra.cells.lem import LEM
from recurra.cells.li_gru import LiGRU
from recurra.cells.lstm import LSTM
from recurra.cells.lstm1997 import LSTM1997
from recurra.cells.lstm_variants import (
    CoupledPeepholeLSTM,
    NoForgetGateLSTM,
    NoInputActivationLSTM,
    NoInputGateLSTM,
    NoOutputActivationLSTM,
    NoOutputGateLSTM,
)
from recurra.cells.min_gru import MinGRU
from recurra.cells.min_lstm import MinLSTM
from recurra.cells.minimal_gated_unit import MinimalGatedUnit
from recurra.cells.minimal_rnn import MinimalRNN
from recurra.cells.multiplicative_lstm import MultiplicativeLSTM
from recurra.cells.mut1 import MUT1
from recurra.cells.mut2 import MUT2
from recurra.cells.mut3 import MUT3
from recurra.cells.peephole_lstm import PeepholeLSTM
from recurra.cells.qrnn import QRNN
from recurra.cells.relu_rnn import ReluRNN
from recurra.cells.rglru import RGLRU
from recurra.cells.scrn import SCRN
from recurra.cells.slstm import SLSTM
from recurra.cells.sru import SRU
from recurra.cells.ugrnn import UGRNN
from recurra.equations.cell import Cell

__all__ = ["CELLS"]

CELLS: Registry[type[Cell]] = Registry("cell", group="recurra.cells", base=Cell)
for _cell in (
    Elman,
    ReluRNN,
    IndRNN,
    Jordan,
    SCRN,
    CoRNN,
    LSTM1997,
    LSTM,
    PeepholeLSTM,
    NoInputGateLSTM,
    NoForgetGateLSTM,
    NoOutputGateLSTM,
    NoInputActivationLSTM,
    NoOutputActivationLSTM,
    CoupledPeepholeLSTM,
    FullRecurrenceLSTM,
    CoupledLSTM,
    MultiplicativeLSTM,
    SLSTM,
    LEM,
    LayerNormLSTM,
    GRU,
    GRUv1,
    MUT1,
    MUT2,
    MUT3,
    MinimalGatedUnit,
    UGRNN,
    JANET,
    LiGRU,
    MinimalRNN,
    FastGRNN,
    MinGRU,
    MinLSTM,
    SRU,
    QRNN,
    RGLRU,
):
    CELLS.add(_cell().name, _cell)
