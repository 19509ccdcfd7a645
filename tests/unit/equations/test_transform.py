"""Options of the layer as rewritten equations."""

from __future__ import annotations

import pytest

from recurra.base.errors import EquationError
from recurra.cells import CELLS
from recurra.equations.cell import Cell
from recurra.equations.expr import const, make, substitute
from recurra.equations.functions import layer_norm, sigmoid, tanh
from recurra.equations.show import equations, text
from recurra.equations.transform import with_projection, with_recurrent_dropout, with_replaced, with_zoneout


def spec(name):
    return CELLS[name]().spec


def operands(changed):
    return {text(node) for node in changed.products if node in changed.stateful}


def test_masks_stand_in_the_products_and_nowhere_else():
    changed = with_recurrent_dropout(spec("gru_v1"))
    assert operands(changed) == {f"U_{gate} (drop_h ⊙ h)" for gate in "rz"} | {
        "U_n (σ(W_r x + U_r (drop_h ⊙ h) + b_r) ⊙ drop_h ⊙ h)"
    }
    assert text(changed.after["h"]).startswith("(1 - ")
    assert ") ⊙ h + " in text(changed.after["h"])
    assert [(extra.name, extra.axis) for extra in changed.extras] == [("drop_h", "H")]


@pytest.mark.parametrize("name", CELLS)
def test_a_mask_of_ones_changes_nothing(name):
    original, changed = spec(name), with_recurrent_dropout(spec(name))
    assert (changed.fingerprint != original.fingerprint) == bool(original.recurrent_params)
    back = {}
    for extra in changed.extras:
        state = original.symbol(extra.name.removeprefix("drop_"))
        back[make("mul", changed.symbol(extra.name), state)] = state
    for state in original.states:
        assert substitute([changed.after[state]], back)[0] is original.after[state]


def test_an_elementwise_state_is_not_masked():
    changed = with_recurrent_dropout(spec("peephole_lstm"))
    assert [extra.name for extra in changed.extras] == ["drop_h"]
    assert "p_f ⊙ c" in text(changed.after["c"])
    assert "drop" not in text(changed.after["c"]).replace("(drop_h ⊙ h)", "")


def test_the_mask_has_the_axis_of_its_state():
    (extra,) = with_recurrent_dropout(spec("jordan")).extras
    assert (extra.name, extra.axis) == ("drop_y", "O")


def test_what_lies_behind_a_product_is_masked_once():
    class Twice(Cell):
        states = "h", "c"

        def step(self, x, h, c, W, U, V):
            inner = tanh(W @ x + U @ (h + c))
            return V.a @ inner, V.b @ (inner * layer_norm(c))

    changed = with_recurrent_dropout(Twice().spec)
    assert text(changed.after["h"]) == "V_a tanh(W x + U (drop_h ⊙ h + drop_c ⊙ c))"
    assert text(changed.after["c"]) == "V_b (tanh(W x + U (drop_h ⊙ h + drop_c ⊙ c)) ⊙ LN(drop_c ⊙ c))"
    assert [extra.name for extra in changed.extras] == ["drop_h", "drop_c"]
    assert "inner = " in equations(changed)


def test_zoneout():
    original, changed = spec("lstm"), with_zoneout(spec("lstm"), ["c"])
    zone, c = make("extra", value="zone_c"), original.symbol("c")
    assert changed.after["c"] is zone * c + (1 - zone) * original.after["c"]
    # The output reads the cell state as it was before the draw.
    assert changed.after["h"] is original.after["h"]
    assert [(extra.name, extra.axis) for extra in changed.extras] == [("zone_c", "H")]
    assert changed.params == original.params


def test_both():
    changed = with_zoneout(with_recurrent_dropout(spec("gru")), ["h"])
    assert [extra.name for extra in changed.extras] == ["drop_h", "zone_h"]
    assert all(changed.shapes[changed.symbol(extra.name)] == ("H",) for extra in changed.extras)


def test_projection():
    changed = with_projection(spec("lstm"))
    assert changed.state_axes == {"h": "P", "c": "H"}
    assert changed.params["U.i"] == ("H", "P")
    assert changed.params["R.h"] == ("P", "H")
    assert text(changed.after["h"]).startswith("R_h (")
    assert changed.output_axis == "P"
    assert spec("lstm").params["U.i"] == ("H", "H")


@pytest.mark.parametrize("name", ["gru", "gru_v1", "minimal_gated_unit"])
def test_projection_needs_products_only(name):
    with pytest.raises(EquationError, match=rf"projection of {name}: (.|\n)*uses h elementwise too"):
        with_projection(spec(name))


def test_projection_keeps_the_peepholes():
    changed = with_projection(spec("peephole_lstm"))
    assert changed.params["p.i"] == ("H",)


def test_transforms_leave_the_original_alone():
    original = spec("lstm")
    before = (original.fingerprint, dict(original.params), original.extras)
    with_zoneout(with_projection(with_recurrent_dropout(original)), original.states)
    assert (original.fingerprint, dict(original.params), original.extras) == before


def test_all_at_once_keep_their_axes():
    changed = with_zoneout(with_projection(with_recurrent_dropout(spec("lstm"))), ("h", "c"))
    assert {extra.name: extra.axis for extra in changed.extras} == {"drop_h": "P", "zone_h": "P", "zone_c": "H"}
    assert changed.shapes[changed.after["h"]] == ("P",)
    assert sigmoid(changed.symbol("h")) not in changed.shapes


def test_projection_is_refused_where_there_is_an_output_layer():
    with pytest.raises(EquationError, match="output layer already"):
        with_projection(CELLS["jordan"]().spec)


def test_a_gate_that_becomes_a_number_takes_its_parameters_along():
    original = spec("lstm")
    changed = with_replaced(original, "open_lstm", {dict(original.names)["i"]: const(1.0)})
    assert changed.name == "open_lstm"
    assert set(original.params) - set(changed.params) == {"W.i", "U.i", "b.i"}
    assert equations(changed).splitlines()[0].startswith("f = ")
    assert "c' = f ⊙ c + g" in equations(changed)
    assert changed.fingerprint != original.fingerprint


def test_no_peepholes_is_the_plain_lstm():
    original = spec("peephole_lstm")
    names = ("p.i", "p.f", "p.o")
    products = {node for node in original.nodes if node.op == "mul" and str(node.args[0].value) in names}
    changed = with_replaced(original, "np", dict.fromkeys(products, const(0.0)))
    assert changed.fingerprint == spec("lstm").fingerprint


def test_what_is_replaced_must_be_there_and_fit():
    original = spec("lstm")
    with pytest.raises(EquationError, match=r"odd: `h \+ x` does not stand in lstm"):
        with_replaced(original, "odd", {original.symbol("h") + original.symbol("x"): const(0.0)})
    with pytest.raises(EquationError, match=r"odd: (.|\n)*different axes"):
        with_replaced(original, "odd", {dict(original.names)["i"]: original.symbol("x")})
