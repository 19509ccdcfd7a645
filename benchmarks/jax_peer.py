"""Peers in JAX, compiled: ImportError says that JAX is not installed."""

from __future__ import annotations

from collections.abc import Callable

try:
    import jax  # pyright: ignore[reportMissingImports]
    from jax import numpy as jnp  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("jax is not installed: pip install jax") from error
from torch import Tensor

from recurra.layers import Recurrent

__all__ = ["associative_min_gru", "scanned"]


def _array(tensor: Tensor) -> jax.Array:
    return jnp.asarray(tensor.detach().numpy())


def _trained(loss: Callable[[dict[str, jax.Array]], jax.Array], params: dict[str, jax.Array]) -> Callable[[], None]:
    step = jax.jit(jax.value_and_grad(loss))

    def once() -> None:
        jax.block_until_ready(step(params))

    return once


def scanned(cell: str, layer: Recurrent, x: Tensor) -> Callable[[], None]:
    """Loss and gradients of the cell as jax.lax.scan, the input product before it."""
    params = {name: _array(value) for name, value in layer.units[0].named().items()}
    batch, inputs = x.shape[0], _array(x.transpose(0, 1).contiguous())
    gates = {"lstm": "ifgo", "gru": "rzn"}[cell]

    def loss(p: dict[str, jax.Array]) -> jax.Array:
        pre = inputs @ jnp.concatenate([p[f"W.{g}"] for g in gates]).T + jnp.concatenate([p[f"b.{g}"] for g in gates])
        recurrent = jnp.concatenate([p[f"U.{g}"] for g in gates]).T
        zero = jnp.zeros((batch, recurrent.shape[0]))

        def lstm(carry: tuple[jax.Array, jax.Array], now: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            h, c = carry
            i, f, g, o = jnp.split(now + h @ recurrent, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        def gru(h: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
            a, b = jnp.split(now, 3, 1), jnp.split(h @ recurrent, 3, 1)
            r, z = jax.nn.sigmoid(a[0] + b[0]), jax.nn.sigmoid(a[1] + b[1])
            n = jnp.tanh(a[2] + r * (b[2] + p["a.n"]))
            h = (1 - z) * n + z * h
            return h, h

        _, y = jax.lax.scan(lstm, (zero, zero), pre) if cell == "lstm" else jax.lax.scan(gru, zero, pre)
        return y.sum()

    return _trained(loss, params)


def associative_min_gru(layer: Recurrent, x: Tensor) -> Callable[[], None]:
    """Loss and gradients of the minimal GRU as jax.lax.associative_scan over time."""
    params = {name: _array(value) for name, value in layer.units[0].named().items()}
    inputs = _array(x)

    def join(a: tuple[jax.Array, jax.Array], b: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return a[0] * b[0], b[0] * a[1] + b[1]

    def loss(p: dict[str, jax.Array]) -> jax.Array:
        z = jax.nn.sigmoid(inputs @ p["W.z"].T + p["b.z"])
        n = inputs @ p["W.n"].T + p.get("b.n", jnp.zeros(()))
        _, h = jax.lax.associative_scan(join, (1 - z, z * n), axis=1)
        return h.sum()

    return _trained(loss, params)
