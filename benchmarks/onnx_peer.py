"""One step of an LSTM in ONNX Runtime, state in and out: ImportError says that it is not installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

try:
    import onnx  # pyright: ignore[reportMissingImports]
    import onnxruntime  # pyright: ignore[reportMissingImports]
    from onnx import TensorProto, helper  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("onnx and onnxruntime are not installed: pip install 'recurra[onnx]'") from error
from recurra.layers import Recurrent
from recurra.layers.convert import to_onnx

__all__ = ["stepped"]


def stepped(layer: Recurrent, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """x (B, I) float32 -> h (B, H); keeps the state between calls."""
    found = to_onnx(layer)
    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "h0", "c0"], ["Y", "h", "c"], **found["attributes"])
    graph = helper.make_graph(
        [node],
        "step",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("X", "h0", "c0")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("h", "c")],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(found[name]), name) for name in ("W", "R", "B")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    state: list[np.ndarray] = []

    def once(x: np.ndarray) -> np.ndarray:
        if not state:
            state[:] = [np.zeros((1, len(x), layer.hidden_size), np.float32)] * 2
        state[:] = map(np.asarray, session.run(["h", "c"], {"X": x[None], "h0": state[0], "c0": state[1]}))
        return state[0][0]

    return once
