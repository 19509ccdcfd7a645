"""Keras (on torch) as the outside word for its weight layouts, both GRU flavours among them."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import torch
from tests.contract import battery
from tests.tolerances import assert_close

from recurra.cells.interop import KERAS
from recurra.layers import Recurrent
from recurra.layers.convert import from_keras, to_keras

os.environ["KERAS_BACKEND"] = "torch"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

# Keras's own conversion of torch tensors, under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def keras_layer(cell: str, input_size: int, hidden_size: int):
    layout = KERAS[cell]
    layer = getattr(keras.layers, layout.operator)(hidden_size, return_sequences=True, **layout.attributes)
    layer.build((None, None, input_size))
    return layer


@pytest.mark.parametrize("cell", KERAS)
def test_our_weights_in_keras(cell):
    layer = battery.make(cell, torch.float32)
    peer = keras_layer(cell, battery.INPUT, battery.HIDDEN)
    peer.set_weights(to_keras(layer))
    x, _ = battery.draw(layer, 3, 8)
    want = torch.as_tensor(np.asarray(keras.ops.convert_to_numpy(peer(x.numpy()))))
    assert_close(layer(x)[0], want, "value", cell)


@pytest.mark.parametrize("cell", KERAS)
def test_keras_weights_in_ours(cell):
    keras.utils.set_random_seed(0)
    peer = keras_layer(cell, 4, 6)
    peer.set_weights([np.random.default_rng(0).normal(size=w.shape).astype("float32") for w in peer.get_weights()])
    layer = Recurrent(cell, 4, 6)
    from_keras(layer, peer.get_weights())
    x = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
    want = torch.as_tensor(np.asarray(keras.ops.convert_to_numpy(peer(x.numpy()))))
    assert_close(layer(x)[0], want, "value", cell)
