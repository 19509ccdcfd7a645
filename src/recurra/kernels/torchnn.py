"""torch's own fused LSTM, GRU and RNN, where they compute exactly the spec."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.kernels.request import FusedLayout, Request

__all__ = ["TorchNN"]

# A gate held by this much is exactly 0 or 1 in every float type: exp(-1e4) is 0.
_HOLD = 1e4


class TorchNN:
    """One fused call for the whole sequence, on every device that torch has one for.

    Ragged batches take the dense call too, not torch's packed one, which on a CPU runs step by step: an input channel
    that is 1 on padding drives the gates to where the state stands still, exactly and with zero gradient.
    """

    name = "torchnn"

    def refuses(self, request: Request) -> str | None:
        """Other equations, a reset inside the sequence, an empty batch."""
        if request.fused is None:
            return f"the equations of {request.spec.name} are not those of torch's LSTM, GRU or RNN"
        if request.resets is not None:
            return "torch's operators cannot restart a row inside the sequence"
        if 0 in request.x.shape:
            return f"torch's operators take no empty batch or sequence, x is {tuple(request.x.shape)}"
        return None

    def run(self, request: Request) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs (B, T, H) and the final state."""
        layout, x = request.fused, request.x
        if layout is None:
            raise ValueError("torchnn was asked to run a request that it refuses")
        weights = _weights(layout, request)
        valid = None
        if request.lengths is not None:
            moments = torch.arange(x.shape[1], device=x.device)
            valid = (moments < request.lengths.to(x.device)[:, None]).unsqueeze(-1)
            if any(value is not None for value in layout.hold):
                x = torch.cat((x, (~valid).to(x.dtype)), -1)
                weights[0] = torch.cat((weights[0], _holding_column(layout, weights[0])), 1)
        state = [part.unsqueeze(0).contiguous() for part in request.state]
        training = torch.is_grad_enabled()
        # Arguments: weights, has biases, layers, dropout, training, bidirectional, batch first.
        options = (weights, True, 1, 0.0, training, False, True)
        operator = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}
        first = tuple(state) if layout.operator == "LSTM" else state[0]
        y, *last = operator[layout.operator](x, first, *options)
        final = [part.squeeze(0) for part in last]
        if valid is not None and request.lengths is not None:
            y = torch.where(valid, y, y.new_zeros(()))
            # The output of the last valid step is the final h; a row of length 0 keeps what it came with.
            index = (request.lengths.to(x.device) - 1).clamp(min=0)
            reached = y[torch.arange(len(index), device=x.device), index]
            final[0] = torch.where((request.lengths.to(x.device) > 0)[:, None], reached, request.state[0])
        return y, tuple(final)


def _weights(layout: FusedLayout, request: Request) -> list[Tensor]:
    """weight_ih (G H, I), weight_hh (G H, H), bias_ih, bias_hh (G H,)."""
    params = request.params
    biases = [params[name] for name in layout.biases]
    inner = [
        torch.zeros_like(bias) if name is None else params[name]
        for name, bias in zip(layout.inner_biases, biases, strict=True)
    ]
    return [
        torch.cat([params[name] for name in layout.input_weights]),
        torch.cat([params[name] for name in layout.recurrent_weights]),
        torch.cat(biases),
        torch.cat(inner),
    ]


def _holding_column(layout: FusedLayout, weight: Tensor) -> Tensor:
    """What the padding channel adds to each gate: enough to shut it or to open it for good."""
    force = [0.0 if value is None else (2 * value - 1) * _HOLD for value in layout.hold]
    rows = weight.shape[0] // len(force)
    return weight.new_tensor(force).repeat_interleave(rows)[:, None]
