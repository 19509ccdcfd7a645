"""Keras layers on JAX, compiled: ImportError says what is not installed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

# Keras reads it once, when it is imported.
os.environ["KERAS_BACKEND"] = "jax"

try:
    import jax  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
except ImportError as error:
    raise ImportError("keras and jax are not both installed: pip install keras jax") from error
import numpy as np
import torch
from torch import Tensor

from recurra.cells.interop import KERAS
from recurra.layers import Recurrent
from recurra.layers.convert import to_keras

__all__ = ["trained"]


def trained(layer: Recurrent, x: Tensor) -> tuple[Callable[[], None], Callable[[], Tensor]]:
    """Loss and gradients of the same layer in Keras, jit; and its outputs."""
    if keras.backend.backend() != "jax":
        raise ImportError("keras was imported before with another backend")
    layout = KERAS[layer.cell.name]
    peer = getattr(keras.layers, layout.operator)(layer.hidden_size, return_sequences=True, **layout.attributes)
    peer.build((None, None, layer.input_size))
    peer.set_weights(to_keras(layer))
    inputs = jax.numpy.asarray(x.numpy())
    trainable = [variable.value for variable in peer.trainable_variables]
    others = [variable.value for variable in peer.non_trainable_variables]

    def outputs(params: list[jax.Array]) -> jax.Array:
        return peer.stateless_call(params, others, inputs)[0]

    step = jax.jit(jax.value_and_grad(lambda params: outputs(params).sum()))

    def once() -> None:
        jax.block_until_ready(step(trainable))

    return once, lambda: torch.from_numpy(np.array(outputs(trainable)))
