"""What follows from the equations: parameters and their counts, gates, products, what a scan may do."""

from __future__ import annotations

import copy
import pickle

import pytest

from recurra.cells import CELLS
from recurra.cells.gru import GRU
from recurra.cells.lstm import LSTM
from recurra.equations.cell import Cell
from recurra.equations.expr import make
from recurra.equations.functions import layer_norm, mean, sigmoid, softmax, tanh, where
from recurra.equations.transform import with_zoneout

I, H, O = 5, 7, 3  # noqa: E741

# Counted by hand from the published equations.
COUNTS = {
    "elman": (H * I + H * H + H, "HI + HH + H"),
    "relu_rnn": (H * I + H * H + H, "HI + HH + H"),
    "jordan": (H * I + H * O + O * H + H + O, "HI + HO + OH + H + O"),
    "lstm": (4 * H * (I + H + 1), "4HI + 4HH + 4H"),
    "peephole_lstm": (4 * H * (I + H + 1) + 3 * H, "4HI + 4HH + 7H"),
    "coupled_lstm": (3 * H * (I + H + 1), "3HI + 3HH + 3H"),
    # Gains of four input and four recurrent products and of c; biases of four gates and of c.
    "layer_norm_lstm": (4 * H * (I + H) + 9 * H + 5 * H, "4HI + 4HH + 14H"),
    "gru": (3 * H * (I + H + 1) + H, "3HI + 3HH + 4H"),
    "gru_v1": (3 * H * (I + H + 1), "3HI + 3HH + 3H"),
    "minimal_gated_unit": (2 * H * (I + H + 1), "2HI + 2HH + 2H"),
    "min_gru": (2 * H * (I + 1), "2HI + 2H"),
    "min_lstm": (3 * H * (I + 1), "3HI + 3H"),
    # The memory and the highway have no bias.
    "sru": (4 * H * I + 2 * H, "4HI + 2H"),
    # Filters of width 2.
    "qrnn": (3 * H * (2 * I + 1), "6HI + 3H"),
    # Two gates with bias, the value without, and a decay a unit.
    "rglru": (3 * H * I + 3 * H, "3HI + 3H"),
    # One recurrent weight a unit.
    "ind_rnn": (H * I + 2 * H, "HI + 2H"),
    "scrn": (2 * H * I + 2 * H * H, "2HI + 2HH"),
    "co_rnn": (H * I + 2 * H * H + H, "HI + 2HH + H"),
    "lstm1997": (3 * H * (I + H + 1), "3HI + 3HH + 3H"),
    # A gate left out takes W, U, p and b along; a squashing, nothing.
    **dict.fromkeys(
        ("no_input_gate_lstm", "no_forget_gate_lstm", "no_output_gate_lstm", "coupled_peephole_lstm"),
        (3 * H * (I + H + 1) + 2 * H, "3HI + 3HH + 5H"),
    ),
    **dict.fromkeys(
        ("no_input_activation_lstm", "no_output_activation_lstm"), (4 * H * (I + H + 1) + 3 * H, "4HI + 4HH + 7H")
    ),
    # Nine more matrices between three gates.
    "full_recurrence_lstm": (4 * H * (I + H + 1) + 3 * H + 9 * H * H, "4HI + 13HH + 7H"),
    # The intermediate state has no bias.
    "multiplicative_lstm": (5 * H * I + 5 * H * H + 4 * H, "5HI + 5HH + 4H"),
    "slstm": (4 * H * (I + H + 1), "4HI + 4HH + 4H"),
    "lem": (4 * H * (I + H + 1), "4HI + 4HH + 4H"),
    # The update gate does not see the state.
    "mut1": (3 * H * I + 2 * H * H + 3 * H, "3HI + 2HH + 3H"),
    "mut2": (3 * H * (I + H + 1), "3HI + 3HH + 3H"),
    "mut3": (3 * H * (I + H + 1), "3HI + 3HH + 3H"),
    "ugrnn": (2 * H * (I + H + 1), "2HI + 2HH + 2H"),
    "janet": (2 * H * (I + H + 1), "2HI + 2HH + 2H"),
    "li_gru": (2 * H * (I + H + 1), "2HI + 2HH + 2H"),
    "minimal_rnn": (H * I + 2 * H * H + 2 * H, "HI + 2HH + 2H"),
    # One pair of matrices; two biases, zeta and nu.
    "fast_grnn": (H * I + H * H + 4 * H, "HI + HH + 4H"),
}


def spec(name):
    return CELLS[name]().spec


def test_every_cell_is_counted():
    assert set(COUNTS) == set(CELLS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name):
    count, formula = COUNTS[name]
    assert spec(name).parameter_count({"I": I, "H": H, "O": O}) == count
    assert spec(name).parameter_formula == formula


def test_names_and_their_order():
    assert list(spec("lstm").params) == [f"{family}.{gate}" for family in "WUb" for gate in "ifgo"]
    assert spec("lstm").gates == ("i", "f", "g", "o")
    assert spec("gru").gates == ("r", "z", "n")
    assert spec("peephole_lstm").families["p"] == ("p.i", "p.f", "p.o")
    assert list(spec("elman").params) == ["W", "U", "b"]
    assert spec("elman").gates == ()


def test_axes_of_jordan():
    jordan = spec("jordan")
    assert jordan.params == {
        "W.h": ("H", "I"),
        "U.h": ("H", "O"),
        "V.y": ("O", "H"),
        "b.h": ("H",),
        "b.y": ("O",),
    }
    assert jordan.output_axis == "O"
    assert jordan.axes == ("I", "H", "O")


@pytest.mark.parametrize(
    ("name", "dependent"),
    [
        ("elman", 1),
        ("relu_rnn", 1),
        ("jordan", 2),
        ("lstm", 1),
        ("peephole_lstm", 1),
        ("coupled_lstm", 1),
        ("layer_norm_lstm", 1),
        ("gru", 1),
        ("gru_v1", 2),
        ("minimal_gated_unit", 2),
        ("min_gru", 0),
        ("min_lstm", 0),
        ("sru", 0),
        ("qrnn", 1),
        ("rglru", 0),
    ],
)
def test_dependent_products(name, dependent):
    assert spec(name).dependent_products == dependent


def named(nodes):
    return [node.args[0].value for node in nodes]


def test_free_products_do_not_touch_the_state():
    assert named(spec("lstm").free_products) == ["W.i", "W.f", "W.g", "W.o"]
    assert named(spec("jordan").free_products) == ["W.h"]

    class Deep(Cell):
        states = "h"

        def step(self, x, h, W, U):
            return tanh(W.b @ tanh(W.a @ x) + W.c @ (U @ h))

    assert named(Deep().spec.free_products) == ["W.a", "W.b"]
    assert Deep().spec.dependent_products == 2


def test_shared_operands():
    shared = spec("gru_v1").shared_operands
    assert [named(products) for products in shared.values()] == [["W.r", "W.z", "W.n"], ["U.r", "U.z"], ["U.n"]]
    assert list(shared)[1] is spec("gru_v1").symbol("h")


SCANS = {
    "min_gru": (("h",),),
    "min_lstm": (("h",),),
    "sru": (("c",), ("h",)),
    "qrnn": (("p",), ("c",), ("h",)),
    "rglru": (("h",),),
}


@pytest.mark.parametrize("name", CELLS)
def test_which_cells_are_scans(name):
    assert spec(name).scan_order == SCANS.get(name)
    assert spec(name).is_affine_elementwise == (name in SCANS)


def test_what_is_carried():
    assert spec("lstm").carried == ("h", "c")
    assert spec("sru").carried == ("c",)
    assert (spec("qrnn").carried, spec("qrnn").delays) == (("c", "p"), ("p",))
    assert not any(spec(name).delays for name in CELLS if name != "qrnn")


def affine(body, states=("h",)):
    return type("Tried", (Cell,), {"states": states, "step": body})().spec.is_affine_elementwise


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda self, x, h, W: h / (1 + sigmoid(W.a @ x)) - W.b @ x, True),
        (lambda self, x, h, W: where(W.a @ x < W.b @ x, h, W.a @ x), True),
        (lambda self, x, h, W: -h + W @ x, True),
        (lambda self, x, h, W: h * h + W @ x, False),
        (lambda self, x, h, W: (W @ x) / h, False),
        (lambda self, x, h, W: where(W.a @ x < h, W.b @ x, W.a @ x), False),
        (lambda self, x, h, W, U: W @ x + U @ h, False),
        (lambda self, x, h, W: W @ x + mean(h), False),
        (lambda self, x, h, W: W @ x * softmax(h), False),
        (lambda self, x, h, W: tanh(W @ x + h), False),
    ],
)
def test_affine_elementwise(body, expected):
    assert affine(body) is expected


H2, H3 = ("h", "c"), ("h", "c", "d")


@pytest.mark.parametrize(
    ("states", "body", "order"),
    [
        # A rotation: each waits for the other, both affine.
        (H2, lambda self, x, h, c, W, k: (k.a * h - k.b * c + W @ x, k.b * h + k.a * c), (("h", "c"),)),
        # Each would do alone, but their product is no affine map of the two.
        (H2, lambda self, x, h, c, W: (h * c + W @ x, h + c), None),
        # The second is known before the first, so it may be a factor, or pass through any function and any product.
        (H2, lambda self, x, h, c, W: (h * c + W.h @ x, c * (W.c @ x)), (("c",), ("h",))),
        (H2, lambda self, x, h, c, W, U: (sigmoid(U @ c) * h + tanh(c), W @ x - c), (("c",), ("h",))),
        (H2, lambda self, x, h, c, W, U: (tanh(U @ h), W @ x - c * h), None),
        # A chain of delays; an order that is not the one written.
        (H3, lambda self, x, h, c, d, W, U: (tanh(U @ c), tanh(d), softmax(W @ x)), (("d",), ("c",), ("h",))),
        # Two that wait for each other, and one that reads both.
        (H3, lambda self, x, h, c, d, W: (tanh(c * d), d + W @ x, 0.5 * c), (("c", "d"), ("h",))),
        # A circle of three with one step that is not affine.
        (H3, lambda self, x, h, c, d, W: (c + W @ x, d, tanh(h)), None),
        # Where the input chooses, each side may be another affine map.
        (H2, lambda self, x, h, c, W: (where(W @ x < 0, h, 0.5 * c), where(W @ x < 0, 1.0, h)), (("h", "c"),)),
    ],
)
def test_scan_order(states, body, order):
    tried = type("Tried", (Cell,), {"states": states, "step": body})().spec
    assert tried.scan_order == order
    assert tried.is_affine_elementwise == (order is not None)


def test_zoneout_keeps_a_scan_legal():
    assert with_zoneout(spec("sru"), ("h", "c")).scan_order == (("c",), ("h",))
    assert with_zoneout(spec("qrnn"), ("h", "c", "p")).scan_order == (("p",), ("c",), ("h",))


def test_row_ops():
    assert [node.op for node in spec("layer_norm_lstm").row_ops] == ["layer_norm"] * 9
    assert spec("lstm").row_ops == ()


class Reordered(Cell):
    """The GRU of torch, sums and factors the other way round, states and locals renamed."""

    states = "memory"

    def step(self, x, memory, b, U, W, a):
        new = tanh((U.n @ memory + a.n) * sigmoid(b.r + (U.r @ memory + W.r @ x)) + (b.n + W.n @ x))
        keep = sigmoid(U.z @ memory + (W.z @ x + b.z))
        return memory * keep + new * (1 - keep)


def test_fingerprint():
    assert Reordered().spec.fingerprint == spec("gru").fingerprint
    same: dict[str, list[str]] = {}
    for name in CELLS:
        same.setdefault(spec(name).fingerprint, []).append(name)
    # MUT2 with a matrix where the paper has the bare input; its matrix starts as the identity.
    assert [names for names in same.values() if len(names) > 1] == [["gru_v1", "mut2"]]
    assert CELLS["mut2"].initial == {"W.r": "identity"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda self, x, h, W, U: W @ x - U @ h, lambda self, x, h, W, U: U @ h - W @ x),
        (lambda self, x, h, W, U: W @ x + 2 * (U @ h), lambda self, x, h, W, U: W @ x + 3 * (U @ h)),
        (lambda self, x, h, W, U: W @ x + U.a @ h, lambda self, x, h, W, U: W @ x + U.b @ h),
        (
            lambda self, x, h, W, U: layer_norm(W @ x + U @ h),
            lambda self, x, h, W, U: layer_norm(W @ x + U @ h, eps=1e-3),
        ),
        (lambda self, x, h, W, U: (W @ x + h) * (U @ h), lambda self, x, h, W, U: W @ x + h * (U @ h)),
    ],
)
def test_fingerprints_differ(first, second):
    specs = [type("Tried", (Cell,), {"states": "h", "step": body})().spec for body in (first, second)]
    assert specs[0].fingerprint != specs[1].fingerprint


def test_fingerprint_minds_the_order_of_states():
    class Swapped(LSTM):
        states = "c", "h"

        def step(self, x, c, h, W, U, b):
            h_next, c_next = LSTM.step(self, x, h, c, W, U, b)
            return c_next, h_next

    assert Swapped().spec.fingerprint != spec("lstm").fingerprint


def test_same_expression_is_same_object():
    first, second = spec("lstm"), LSTM().spec
    assert first is not second
    assert all(first.after[state] is second.after[state] for state in first.states)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_keep_identity(copied):
    original = spec("gru_v1")
    again = copied(original)
    assert again.after["h"] is original.after["h"]
    assert again.symbol("x") in again.shapes
    assert again.fingerprint == original.fingerprint


def test_symbols():
    assert spec("lstm").symbol("U.f") is make("param", value="U.f")
    with pytest.raises(KeyError):
        spec("lstm").symbol("p.f")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("LSTM", "lstm"),
        ("PeepholeLSTM", "peephole_lstm"),
        ("GRUv1", "gru_v1"),
        ("ReluRNN", "relu_rnn"),
        ("MyCell", "my_cell"),
        ("A", "a"),
    ],
)
def test_name_of_a_class(written, name):
    assert type(written, (GRU,), {})().name == name


def test_recurrent_matrices_read_a_state_themselves():
    assert CELLS["gru_v1"]().spec.recurrent_params == {"U.r", "U.z", "U.n"}
    # V reads the hidden layer, which is no state.
    assert CELLS["jordan"]().spec.recurrent_params == {"U.h"}
