"""Floor 3a: the modules people build with. `Recurrent` is the only time loop they meet.

    from recurra.layers import Bidirectional, EncoderDecoder, Recurrent

A name's module is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurra.layers.attention import Attention, AttentionPooling
    from recurra.layers.bidirectional import Bidirectional
    from recurra.layers.decoder import Decoder
    from recurra.layers.deep import DeepRecurrent
    from recurra.layers.encoder_decoder import EncoderDecoder, OneToMany
    from recurra.layers.feedback import OutputFeedback
    from recurra.layers.grid import Recurrent2d
    from recurra.layers.hierarchical import HierarchicalAttention
    from recurra.layers.memory import NTM
    from recurra.layers.monotonic import MonotonicAttention
    from recurra.layers.narx import NARX
    from recurra.layers.normalisation import BatchNormed, Normalised
    from recurra.layers.recurrent import Recurrent
    from recurra.layers.recurrent_batch_norm import RecurrentBatchNorm
    from recurra.layers.shapes import ManyToMany, ManyToOne
    from recurra.layers.tdnn import TDNN
    from recurra.layers.transition import DeepTransition
    from recurra.layers.tree import ChildSumTreeLSTM, NaryTreeLSTM, RecursiveNet

__all__ = [
    "NARX",
    "NTM",
    "TDNN",
    "Attention",
    "AttentionPooling",
    "BatchNormed",
    "Bidirectional",
    "ChildSumTreeLSTM",
    "Decoder",
    "DeepRecurrent",
    "DeepTransition",
    "EncoderDecoder",
    "HierarchicalAttention",
    "ManyToMany",
    "ManyToOne",
    "MonotonicAttention",
    "NaryTreeLSTM",
    "Normalised",
    "OneToMany",
    "OutputFeedback",
    "Recurrent",
    "Recurrent2d",
    "RecurrentBatchNorm",
    "RecursiveNet",
]

_HOMES = {
    "attention": ("Attention", "AttentionPooling"),
    "bidirectional": ("Bidirectional",),
    "decoder": ("Decoder",),
    "deep": ("DeepRecurrent",),
    "encoder_decoder": ("EncoderDecoder", "OneToMany"),
    "feedback": ("OutputFeedback",),
    "grid": ("Recurrent2d",),
    "hierarchical": ("HierarchicalAttention",),
    "memory": ("NTM",),
    "monotonic": ("MonotonicAttention",),
    "narx": ("NARX",),
    "normalisation": ("BatchNormed", "Normalised"),
    "recurrent": ("Recurrent",),
    "recurrent_batch_norm": ("RecurrentBatchNorm",),
    "shapes": ("ManyToMany", "ManyToOne"),
    "tdnn": ("TDNN",),
    "transition": ("DeepTransition",),
    "tree": ("ChildSumTreeLSTM", "NaryTreeLSTM", "RecursiveNet"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recurra.layers' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
