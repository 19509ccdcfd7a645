"""Each cell against its paper, read once more: the equations as the papers print them, in NumPy, in float64.

A reading names the paper's letters in `maps`: parameter of the reading -> ours. Where ours is the same function in
other words (the stabilised sLSTM), the reading is the paper's, not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from tests.contract import battery

from recurra.layers import Recurrent
from recurra.layers.transition import deep_transition

Weights = Mapping[str, np.ndarray]
Step = Callable[..., tuple[np.ndarray, ...]]
READINGS: dict[str, Step] = {}
STEPS = 12


def reading(name: str) -> Callable[[Step], Step]:
    """Enter the paper's step for the cell of this name: (weights, x_t, states ...) -> next states, for one row."""

    def add(step: Step) -> Step:
        READINGS[name] = step
        return step

    return add


def sigm(a):
    return 1 / (1 + np.exp(-a))


def relu(a):
    return np.maximum(a, 0)


def greff(w, x, y, c, *, drop=""):
    """Greff et al. 2017, sec. II-A: the vanilla LSTM; `drop` is the abbreviation of a variant."""

    def gate(k, cell):
        return sigm(w[f"W.{k}"] @ x + w[f"U.{k}"] @ y + w[f"p.{k}"] * cell + w[f"b.{k}"])

    z = w["W.g"] @ x + w["U.g"] @ y + w["b.g"]
    z = z if drop == "NIAF" else np.tanh(z)
    i = np.ones_like(c) if drop == "NIG" else gate("i", c)
    f = np.ones_like(c) if drop == "NFG" else 1 - i if drop == "CIFG" else gate("f", c)
    c_new = z * i + c * f
    o = np.ones_like(c) if drop == "NOG" else gate("o", c_new)
    return (c_new if drop == "NOAF" else np.tanh(c_new)) * o, c_new


VARIANTS = {
    "no_input_gate_lstm": "NIG",
    "no_forget_gate_lstm": "NFG",
    "no_output_gate_lstm": "NOG",
    "no_input_activation_lstm": "NIAF",
    "no_output_activation_lstm": "NOAF",
    "coupled_peephole_lstm": "CIFG",
    "peephole_lstm": "",
}
for _name, _drop in VARIANTS.items():
    READINGS[_name] = lambda w, x, y, c, drop=_drop: greff(w, x, y, c, drop=drop)


@reading("full_recurrence_lstm")
def fgr(w, x, y, c, i, f, o):
    """Greff et al. 2017, appendix: nine more recurrent matrices."""
    before = {"i": i, "f": f, "o": o}

    def gate(k, cell):
        extra = sum(w[f"R.{source}{k}"] @ value for source, value in before.items())
        return sigm(w[f"W.{k}"] @ x + w[f"U.{k}"] @ y + w[f"p.{k}"] * cell + extra + w[f"b.{k}"])

    i_new, f_new = gate("i", c), gate("f", c)
    c_new = np.tanh(w["W.g"] @ x + w["U.g"] @ y + w["b.g"]) * i_new + c * f_new
    o_new = gate("o", c_new)
    return np.tanh(c_new) * o_new, c_new, i_new, f_new, o_new


@reading("lstm1997")
def lstm_1997(w, x, y, s):
    """Hochreiter and Schmidhuber 1997, eq. 3 to 8: g in [-2, 2], h in [-1, 1]."""

    def net(k):
        return w[f"W.{k}"] @ x + w[f"U.{k}"] @ y + w[f"b.{k}"]

    y_in, y_out = sigm(net("i")), sigm(net("o"))
    s = s + y_in * (4 / (1 + np.exp(-net("g"))) - 2)
    return y_out * (2 / (1 + np.exp(-s)) - 1), s


@reading("mut1")
def mut1(w, x, h):
    """Jozefowicz et al. 2015, sec. 4.2; W.n @ x for their bare x_t."""
    z = sigm(w["W.z"] @ x + w["b.z"])
    r = sigm(w["W.r"] @ x + w["U.r"] @ h + w["b.r"])
    return (np.tanh(w["U.n"] @ (r * h) + np.tanh(w["W.n"] @ x) + w["b.n"]) * z + h * (1 - z),)


@reading("mut2")
def mut2(w, x, h):
    """The same section; W.r @ x for their bare x_t."""
    z = sigm(w["W.z"] @ x + w["U.z"] @ h + w["b.z"])
    r = sigm(w["W.r"] @ x + w["U.r"] @ h + w["b.r"])
    return (np.tanh(w["U.n"] @ (r * h) + w["W.n"] @ x + w["b.n"]) * z + h * (1 - z),)


@reading("mut3")
def mut3(w, x, h):
    """The same section."""
    z = sigm(w["W.z"] @ x + w["U.z"] @ np.tanh(h) + w["b.z"])
    r = sigm(w["W.r"] @ x + w["U.r"] @ h + w["b.r"])
    return (np.tanh(w["U.n"] @ (r * h) + w["W.n"] @ x + w["b.n"]) * z + h * (1 - z),)


@reading("ind_rnn")
def ind_rnn(w, x, h):
    """Li et al. 2018, eq. 2."""
    return (relu(w["W"] @ x + w["u"] * h + w["b"]),)


@reading("slstm")
def slstm(w, x, h, c, n, m):
    """Beck et al. 2024, eq. 8 to 14, without stabiliser: c and n are what ours holds, times exp(m)."""

    def tilde(k):
        return w[f"W.{k}"] @ x + w[f"U.{k}"] @ h + w[f"b.{k}"]

    z, i, f, o = np.tanh(tilde("z")), np.exp(tilde("i")), sigm(tilde("f")), sigm(tilde("o"))
    c, n = f * c + i * z, f * n + i
    return o * c / n, c, n, m


@reading("janet")
def janet(w, x, c):
    """Van der Westhuizen and Lasenby 2018, eq. 6, beta = 1."""
    s = w["U.f"] @ c + w["W.f"] @ x + w["b.f"]
    candidate = np.tanh(w["U.n"] @ c + w["W.n"] @ x + w["b.n"])
    return (sigm(s) * c + (1 - sigm(s - 1)) * candidate,)


@reading("li_gru")
def li_gru(w, x, h):
    """Ravanelli et al. 2018, eq. 5, without batch normalisation."""
    z = sigm(w["W.z"] @ x + w["U.z"] @ h + w["b.z"])
    return (z * h + (1 - z) * relu(w["W.n"] @ x + w["U.n"] @ h + w["b.n"]),)


@reading("fast_grnn")
def fast_grnn(w, x, h):
    """Kusupati et al. 2018, eq. 3 and 4."""
    z = sigm(w["W"] @ x + w["U"] @ h + w["b.z"])
    candidate = np.tanh(w["W"] @ x + w["U"] @ h + w["b.n"])
    zeta, nu = sigm(w["s.zeta"]), sigm(w["s.nu"])
    return ((zeta * (1 - z) + nu) * candidate + z * h,)


@reading("co_rnn")
def co_rnn(w, x, y, z, dt=0.042, gamma=2.7, epsilon=4.7):
    """Rusch and Mishra 2021, eq. 3, explicit damping."""
    z = z + dt * np.tanh(w["U"] @ y + w["V"] @ z + w["W"] @ x + w["b"]) - dt * gamma * y - dt * epsilon * z
    return y + dt * z, z


@reading("lem")
def lem(w, x, y, z):
    """Rusch et al. 2022, eq. 3, step 1."""
    dt = sigm(w["U.a"] @ y + w["W.a"] @ x + w["b.a"])
    dt_bar = sigm(w["U.d"] @ y + w["W.d"] @ x + w["b.d"])
    z = (1 - dt) * z + dt * np.tanh(w["U.z"] @ y + w["W.z"] @ x + w["b.z"])
    return (1 - dt_bar) * y + dt_bar * np.tanh(w["U.h"] @ z + w["W.h"] @ x + w["b.h"]), z


@reading("scrn")
def scrn(w, x, h, s, alpha=0.95):
    """Mikolov et al. 2014, eq. 4 and 5."""
    s = (1 - alpha) * w["B"] @ x + alpha * s
    return sigm(w["P"] @ s + w["A"] @ x + w["R"] @ h), s


@reading("minimal_rnn")
def minimal_rnn(w, x, h):
    """Chen 2017, sec. 3."""
    z = np.tanh(w["W"] @ x + w["b.z"])
    u = sigm(w["U"] @ h + w["V"] @ z + w["b.u"])
    return (u * h + (1 - u) * z,)


@reading("multiplicative_lstm")
def multiplicative_lstm(w, x, h, c):
    """Krause et al. 2016, eq. 9 on: the LSTM reads m for h."""
    m = (w["W.m"] @ x) * (w["U.m"] @ h)

    def part(k):
        return w[f"W.{k}"] @ x + w[f"V.{k}"] @ m + w[f"b.{k}"]

    c = sigm(part("f")) * c + sigm(part("i")) * np.tanh(part("g"))
    return sigm(part("o")) * np.tanh(c), c


@reading("ugrnn")
def ugrnn(w, x, h):
    """Collins et al. 2016, eq. 5 to 7."""
    c = np.tanh(w["U.n"] @ h + w["W.n"] @ x + w["b.n"])
    g = sigm(w["U.u"] @ h + w["W.u"] @ x + w["b.u"])
    return (g * h + (1 - g) * c,)


def unrolled(step: Step, w: Weights, x: np.ndarray, states: tuple[np.ndarray, ...]) -> tuple[np.ndarray, list]:
    """x (B, T, I), states (B, H) each: row by row."""
    outputs, finals = [], []
    for row, steps in enumerate(x):
        now = tuple(state[row] for state in states)
        mine = []
        for x_t in steps:
            now = step(w, x_t, *now)
            mine.append(now[0])
        outputs.append(mine)
        finals.append(now)
    return np.array(outputs), [np.array(parts) for parts in zip(*finals, strict=True)]


def both(name: str, layer: Recurrent, x, state) -> tuple:
    """Ours and the reading: outputs and final states."""
    y, last = layer(x, state)
    weights = {key: value.detach().numpy() for key, value in layer.units[0].named().items()}
    want, finals = unrolled(READINGS[name], weights, x.numpy(), tuple(part.numpy() for part in state[0]))
    return y.detach().numpy(), [part.detach().numpy() for part in last[0]], want, finals


@pytest.mark.parametrize("name", READINGS)
def test_as_the_paper_says(name):
    layer = battery.make(name)
    x, state = battery.draw(layer, 3, STEPS)
    y, last, want, finals = both(name, layer, x, state if name != "slstm" else layer.zero_state(3))
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
    if name == "slstm":
        # Ours is scaled by exp(-m); the paper's m does not exist without the stabiliser.
        h, c, n, m = last
        last, finals = [h, c * np.exp(m), n * np.exp(m)], finals[:3]
    for have, expected in zip(last, finals, strict=True):
        np.testing.assert_allclose(have, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["mut1", "mut2"])
def test_the_start_is_the_papers_bare_input(name):
    layer = battery.make(name)
    wide = Recurrent(name, 7, 7).double()
    assert torch.equal(wide.units[0].named()["W.n" if name == "mut1" else "W.r"], torch.eye(7, dtype=torch.float64))
    x, state = torch.randn(2, 5, 7, dtype=torch.float64), battery.draw(layer, 2, 1)[1]
    w = {key: value.detach().numpy() for key, value in wide.units[0].named().items()}

    def bare(_, x, h):
        if name == "mut1":
            z, r = sigm(w["W.z"] @ x + w["b.z"]), sigm(w["W.r"] @ x + w["U.r"] @ h + w["b.r"])
            return (np.tanh(w["U.n"] @ (r * h) + np.tanh(x) + w["b.n"]) * z + h * (1 - z),)
        z, r = sigm(w["W.z"] @ x + w["U.z"] @ h + w["b.z"]), sigm(x + w["U.r"] @ h + w["b.r"])
        return (np.tanh(w["U.n"] @ (r * h) + w["W.n"] @ x + w["b.n"]) * z + h * (1 - z),)

    want, _ = unrolled(bare, w, x.numpy(), (state[0].h.numpy(),))
    np.testing.assert_allclose(wide(x, state)[0].detach().numpy(), want, rtol=1e-12, atol=1e-12)


def copied(source: Recurrent, target: Recurrent, extra: float = 0.0) -> Recurrent:
    """`target` with the parameters of `source`; those that only it has become `extra`."""
    named = source.units[0].named()
    with torch.no_grad():
        for key, value in target.units[0].named().items():
            value.copy_(named[key]) if key in named else value.fill_(extra)
    return target


def test_no_peepholes_is_the_lstm():
    plain = battery.make("lstm")
    x, _ = battery.draw(plain, 3, STEPS)
    net = copied(plain, battery.make("peephole_lstm"))
    torch.testing.assert_close(net(x)[0], plain(x)[0], rtol=1e-12, atol=1e-12)


def test_full_recurrence_without_its_matrices_is_the_vanilla_lstm():
    plain = battery.make("peephole_lstm")
    x, _ = battery.draw(plain, 3, STEPS)
    net = copied(plain, battery.make("full_recurrence_lstm"))
    torch.testing.assert_close(net(x)[0], plain(x)[0], rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        net.units[0].named()["R.of"].fill_(0.3)
    assert not torch.allclose(net(x)[0], plain(x)[0], atol=1e-3)


def test_coupled_with_peepholes_of_zero_is_the_coupled_lstm():
    plain = battery.make("coupled_lstm")
    x, _ = battery.draw(plain, 3, STEPS)
    net = battery.make("coupled_peephole_lstm")
    with torch.no_grad():
        named, ours = plain.units[0].named(), net.units[0].named()
        for key, value in ours.items():
            family, _, gate = key.partition(".")
            if family == "p":
                value.zero_()
            else:
                # There the gate that is kept is f: 1 - sigmoid(a) = sigmoid(-a).
                value.copy_(-named[f"{family}.f"] if gate == "i" else named[key])
    torch.testing.assert_close(net(x)[0], plain(x)[0], rtol=1e-12, atol=1e-12)


def test_coupled_gates_are_a_tied_forget_gate():
    """f = 1 - i by weights of opposite sign: the vanilla LSTM computes CIFG."""
    tied = battery.make("coupled_peephole_lstm")
    x, state = battery.draw(tied, 3, STEPS)
    net = copied(tied, battery.make("peephole_lstm"))
    with torch.no_grad():
        named = net.units[0].named()
        for family in "WUpb":
            named[f"{family}.f"].copy_(-named[f"{family}.i"])
    torch.testing.assert_close(net(x, state_of(net, state))[0], tied(x, state)[0], rtol=1e-12, atol=1e-12)


def state_of(layer: Recurrent, state: tuple) -> tuple:
    """The same numbers as a state of another cell with the same states."""
    return (layer.units[0].state_type(*state[0]),)


@pytest.mark.parametrize("gate", ["i", "f", "o"])
def test_a_gate_held_open_is_a_gate_left_out(gate):
    name = {"i": "no_input_gate_lstm", "f": "no_forget_gate_lstm", "o": "no_output_gate_lstm"}[gate]
    without = battery.make(name)
    x, state = battery.draw(without, 3, STEPS)
    full = copied(without, battery.make("peephole_lstm"))
    with torch.no_grad():
        # sigmoid(1e3) is 1 to the last bit.
        full.units[0].named()[f"b.{gate}"].fill_(1e3)
    torch.testing.assert_close(full(x, state_of(full, state))[0], without(x, state)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slstm_stays_finite_where_exp_does_not(dtype, backend):
    if backend not in set(battery.backends("slstm")):
        pytest.skip("no native backend here")
    layer = battery.make("slstm", dtype, backend=backend)
    with torch.no_grad():
        for gate in "if":
            layer.units[0].named()[f"W.{gate}"].mul_(1e4)
    x = torch.randn(4, 60, battery.INPUT, dtype=dtype, generator=torch.Generator().manual_seed(3)).requires_grad_()
    y, last = layer(x)
    assert bool(y.isfinite().all())
    # A mean of tanh, times a sigmoid.
    assert float(y.detach().abs().max()) <= 1
    assert all(bool(part.isfinite().all()) for part in last[0])
    assert float(last[0].n.detach().min()) >= 1
    y.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in (x, *layer.parameters()))
    with np.errstate(over="ignore", invalid="ignore"):
        weights = {key: value.detach().numpy() for key, value in layer.units[0].named().items()}
        zeros = tuple(np.zeros((4, battery.HIDDEN)) for _ in range(4))
        assert np.isnan(unrolled(READINGS["slstm"], weights, x.detach().numpy(), zeros)[0]).any()


def test_a_deep_transition_of_the_update_gate_net_is_the_recurrent_highway_net():
    """Zilly et al. 2017, arXiv:1607.03474, eq. 6 to 8: L highway layers within a step, carry gate 1 - t."""
    depth = 3
    layer = battery.make(deep_transition("ugrnn", depth))

    def highway(w, x, s):
        for number in range(1, depth + 1):
            R, b = ("U", "b") if number == 1 else (f"U{number}", f"b{number}")
            pre = {gate: w[f"{R}.{gate}"] @ s + w[f"{b}.{gate}"] for gate in "un"}
            if number == 1:
                pre = {gate: w[f"W.{gate}"] @ x + value for gate, value in pre.items()}
            h, t = np.tanh(pre["n"]), sigm(-pre["u"])
            s = h * t + s * (1 - t)
        return (s,)

    x, state = battery.draw(layer, 3, STEPS)
    weights = {key: value.detach().numpy() for key, value in layer.units[0].named().items()}
    want, _ = unrolled(highway, weights, x.numpy(), (state[0].h.numpy(),))
    np.testing.assert_allclose(layer(x, state)[0].detach().numpy(), want, rtol=1e-12, atol=1e-12)
