"""Where other tools keep which gate: the only permutations of the project.

A layout lists, for one of our cells, the gates in the other tool's order. `-z` says that the tool's gate is ours with
the opposite sense, so that W, U and b of it change sign; None is a slot that our cell has no gate for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["KERAS", "ONNX", "TORCH", "Layout"]

Gate = str | None


class Layout(NamedTuple):
    """One operator of another tool that computes exactly what one of our cells computes."""

    operator: str
    gates: tuple[Gate, ...]
    # Gates whose recurrent product has a bias of its own, and the family that holds it.
    inner_bias: Mapping[str, str] = {}
    peepholes: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = {}
    # What makes the operator keep its state at a step: gate -> the value it must take. Empty: it has no such gate.
    hold: Mapping[str, int] = {}

    def inner(self, gate: Gate) -> str | None:
        """The name of the gate's second bias, if it has one."""
        return f"{self.inner_bias[gate]}.{gate}" if gate and gate in self.inner_bias else None


_ONLY: tuple[Gate, ...] = ("",)

# torch.nn: weight_ih (G H, I), weight_hh (G H, H), bias_ih, bias_hh (G H,).
TORCH: Mapping[str, Layout] = {
    "elman": Layout("RNN_TANH", _ONLY),
    "relu_rnn": Layout("RNN_RELU", _ONLY),
    "lstm": Layout("LSTM", ("i", "f", "g", "o"), hold={"i": 0, "f": 1}),
    "gru": Layout("GRU", ("r", "z", "n"), inner_bias={"n": "a"}, hold={"z": 1}),
}

# Keras: kernel (I, G H), recurrent_kernel (H, G H), bias (G H,), or (2, G H) for the GRU that resets after the product.
KERAS: Mapping[str, Layout] = {
    "elman": Layout("SimpleRNN", _ONLY),
    "relu_rnn": Layout("SimpleRNN", _ONLY, attributes={"activation": "relu"}),
    "lstm": Layout("LSTM", ("i", "f", "g", "o")),
    "gru": Layout("GRU", ("z", "r", "n"), inner_bias={"n": "a"}, attributes={"reset_after": True}),
    "gru_v1": Layout("GRU", ("-z", "r", "n"), attributes={"reset_after": False}),
}

# ONNX: W (D, G H, I), R (D, G H, H), B (D, 2 G H) input biases then recurrent ones, P (D, 3 H).
ONNX: Mapping[str, Layout] = {
    "elman": Layout("RNN", _ONLY, attributes={"activations": ["Tanh"]}),
    "relu_rnn": Layout("RNN", _ONLY, attributes={"activations": ["Relu"]}),
    "lstm": Layout("LSTM", ("i", "o", "f", "g")),
    "peephole_lstm": Layout("LSTM", ("i", "o", "f", "g"), peepholes=("i", "o", "f")),
    # ONNX couples f = 1 - i and ignores what stands in f's slot; our gate is f, so its i is our f turned round.
    "coupled_lstm": Layout("LSTM", ("-f", "o", None, "g"), attributes={"input_forget": 1}),
    "gru": Layout("GRU", ("z", "r", "n"), inner_bias={"n": "a"}, attributes={"linear_before_reset": 1}),
    "gru_v1": Layout("GRU", ("-z", "r", "n"), attributes={"linear_before_reset": 0}),
}
