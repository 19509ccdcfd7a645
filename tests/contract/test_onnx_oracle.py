"""ONNX Runtime's LSTM, GRU and RNN operators as the outside word: random weights, ragged rows, all directions."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from tests.contract import battery
from tests.tolerances import assert_close

from recurra.cells.interop import ONNX
from recurra.layers import Recurrent
from recurra.layers.convert import from_onnx, to_onnx

BATCH, STEPS = 4, 9


def session(layer: Recurrent) -> onnxruntime.InferenceSession:
    """One node: X (T, B, I), lengths (B,), initial states -> Y (T, D, B, H), final states."""
    found = to_onnx(layer)
    lstm = found["operator"] == "LSTM"
    weights = {name: found[name] for name in ("W", "R", "B", "P") if name in found}
    inputs = ["X", "W", "R", "B", "lengths", "h0", *(["c0"] if lstm else []), *(["P"] if "P" in weights else [])]
    outputs = ["Y", "Y_h", *(["Y_c"] if lstm else [])]
    node = helper.make_node(found["operator"], inputs, outputs, **found["attributes"])
    free = [("X", TensorProto.FLOAT), ("lengths", TensorProto.INT32), ("h0", TensorProto.FLOAT)]
    free += [("c0", TensorProto.FLOAT)] if lstm else []
    graph = helper.make_graph(
        [node],
        "oracle",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in free],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("cell", ONNX)
def test_forward(cell, direction):
    options = {"bidirectional": direction == "bidirectional", "reverse": direction == "reverse"}
    layer = battery.make(cell, torch.float32, **options)
    x, state = battery.draw(layer, BATCH, STEPS)
    lengths = torch.tensor([9, 3, 1, 6])
    feed = {"X": x.transpose(0, 1).numpy(), "lengths": lengths.numpy().astype(np.int32)}
    feed["h0"] = torch.stack([part.h for part in state]).numpy()
    if "c" in state[0]._fields:
        feed["c0"] = torch.stack([part.c for part in state]).numpy()
    want, *finals = session(layer).run(None, feed)
    y, last = layer(x, state, lengths=lengths)
    # (T, D, B, H) -> (B, T, D H)
    want = torch.from_numpy(want).permute(2, 0, 1, 3).reshape(BATCH, STEPS, -1)
    assert_close(y, want, "value", f"{cell} outputs")
    for index, part in enumerate(last):
        for name, leaf, final in zip(part._fields, part, finals, strict=True):
            assert_close(leaf, torch.from_numpy(final[index]), "value", f"{cell} final {name}, direction {index}")


@pytest.mark.parametrize("cell", ONNX)
def test_weights_there_and_back(cell):
    layer = battery.make(cell, torch.float32, bidirectional=True)
    again = battery.make(cell, torch.float32, bidirectional=True)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    from_onnx(again, to_onnx(layer))
    for (name, a), b in zip(layer.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name
