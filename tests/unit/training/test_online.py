"""Online gradients against autograd, float64: what RTRL is exact in, SnAp-1 where it is, and where batches are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ConfigError
from recurra.cells import CELLS
from recurra.data.batch import Batch
from recurra.layers import Recurrent
from recurra.training.bptt import bptt
from recurra.training.config import GradientConfig
from recurra.training.gradient import Carry, GradientMethod
from recurra.training.online import OnlineStyle, dense, influence, online, traces
from recurra.training.online.partials import partials_of
from recurra.training.tbptt import gradient_method, tbptt

B, T, X, H, Y = 2, 7, 3, 4, 2
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
ELEMENTWISE = ("ind_rnn", "min_gru", "min_lstm", "sru", "qrnn", "rglru")


class Net(nn.Module):
    """One layer under a linear one."""

    def __init__(self, cell: str, **options: Any) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.layer = Recurrent(cell, X, H, generator=draw, **options).double()
        self.head = nn.Linear(self.layer.output_width, Y).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * 0.6)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state, lengths=lengths, resets=resets)
        return self.head(y), state


def squared(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    error = (outputs - batch.y).square().sum(-1)
    if batch.lengths is not None:
        error = error * (torch.arange(error.shape[1]) < batch.lengths[:, None])
    return error.sum(), batch.count()


def a_batch(steps: int = T, **others: Any) -> Batch:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(B, steps, X, generator=draw, dtype=torch.float64)
    return Batch(x, torch.randn(B, steps, Y, generator=draw, dtype=torch.float64), **others)


def summed(method: GradientMethod, model: nn.Module, batches: list[Batch]) -> dict[str, Tensor]:
    """All updates' gradients added up, the weights frozen: `.grad` is simply never cleared."""
    model.zero_grad()
    carry = None
    for batch in batches:
        for due in method(model, squared, batch, None if batch.first else carry):
            carry = due.carry
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], **EXACT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("cell", CELLS)
def test_rtrl_is_bptt(cell: str):
    """Every cell of the registry; its sum of losses over all steps, whatever number of steps is between updates."""
    model, batch = Net(cell), a_batch()
    expected = summed(bptt, model, [batch])
    assert any(float(part.abs().max()) > 1e-3 for part in expected.values())
    for k1 in (1, 3, None):
        assert_equal(summed(online("rtrl", k1), model, [batch]), expected)


def test_elementwise_cells_are_those_that_carry_one_number_per_weight():
    diagonal = {
        name
        for name in CELLS
        if (partials := partials_of(CELLS[name]().spec)).is_local and not partials.reads_states_in_products
    }
    assert diagonal == set(ELEMENTWISE)
    model = Net("ind_rnn")
    (*_, due) = online("rtrl")(model, squared, a_batch(), None)
    states = 1
    count = sum(parameter.numel() for parameter in model.layer.parameters())
    assert sum(part.numel() for part in due.carry.memory or ()) == B * states * count


@pytest.mark.parametrize("style", ["snap1", "eprop"])
@pytest.mark.parametrize("cell", ELEMENTWISE)
def test_snap1_and_eprop_are_exact_on_elementwise_cells(cell: str, style: OnlineStyle):
    model, batch = Net(cell), a_batch(40)
    assert_equal(summed(online(style, 3), model, [batch]), summed(bptt, model, [batch]))


def test_snap1_keeps_the_diagonal_of_the_jacobian():
    """Menick et al. 2021, a tanh RNN unrolled here: unit k remembers what its own row of weights did to it."""
    model, batch = Net("elman"), a_batch()
    W, U, b = (parameter.detach() for parameter in model.layer.parameters())
    V, c = (parameter.detach() for parameter in model.head.parameters())
    kept = {"W": torch.zeros(B, H, X), "U": torch.zeros(B, H, H), "b": torch.zeros(B, H)}
    kept = {name: part.double() for name, part in kept.items()}
    total = {name: torch.zeros_like(part[0]) for name, part in kept.items()}
    h = torch.zeros(B, H, dtype=torch.float64)
    for t in range(T):
        before, x = h, batch.x[:, t]
        h = torch.tanh(x @ W.T + h @ U.T + b)
        slope = 1 - h**2
        own = slope * U.diagonal()
        kept["W"] = own[..., None] * kept["W"] + slope[..., None] * x[:, None]
        kept["U"] = own[..., None] * kept["U"] + slope[..., None] * before[:, None]
        kept["b"] = own * kept["b"] + slope
        signal = 2 * (h @ V.T + c - batch.y[:, t]) @ V
        for name in total:
            total[name] += torch.einsum("bh,bh...->h...", signal, kept[name])
    got = summed(online("snap1"), model, [batch])
    assert_equal({name: got[f"layer.units.0.{name}"] for name in total}, total)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "gru_v1", "jordan", "layer_norm_lstm"])
@pytest.mark.parametrize("style", ["snap1", "eprop"])
def test_masks_of_the_whole_matrix_and_traces_agree(cell: str, style: OnlineStyle, monkeypatch: pytest.MonkeyPatch):
    """Where a cell has the diagonal form, the whole matrix with all other entries masked says the same."""
    model, batch = Net(cell), a_batch()
    got = summed(online(style), model, [batch])
    partials = partials_of(model.layer.units[0].spec)
    if cell in ("elman", "lstm", "gru"):
        assert partials.is_local
        monkeypatch.setitem(partials.__dict__, "is_local", False)
        assert_equal(summed(online(style), model, [batch]), got)
    else:
        assert not partials.is_local
    # And neither is the gradient itself: the test of RTRL would see nothing otherwise.
    with pytest.raises(AssertionError):
        assert_equal(got, summed(bptt, model, [batch]))


@pytest.mark.parametrize("cell", ["elman", "jordan", "relu_rnn"])
def test_eprop_is_one_step_bptt_where_nothing_leaks(cell: str):
    """A net without a path past its matrices has no memory to trace: what is left is the step itself."""
    model, batch = Net(cell), a_batch()
    assert_equal(summed(online("eprop"), model, [batch]), summed(tbptt(1, 1), model, [batch]))


@pytest.mark.parametrize("cell", ["lstm", "gru_v1", "ind_rnn"])
@pytest.mark.parametrize("style", ["rtrl", "snap1", "eprop"])
def test_how_many_steps_are_made_ready_changes_nothing(cell: str, style: OnlineStyle, monkeypatch: pytest.MonkeyPatch):
    """A large layer goes one step at a time, a smaller one through several; with ragged rows and restarts."""
    resets = torch.zeros(B, 12, dtype=torch.bool)
    resets[1, 4] = resets[:, 8] = True
    batch = a_batch(12, lengths=torch.tensor([12, 7]), resets=resets)
    model = Net(cell, learned_initial_state=True)
    got = summed(online(style, None), model, [batch])
    for ahead in (1, 700, 2000):
        monkeypatch.setattr(traces, "_AHEAD", ahead)
        monkeypatch.setattr(dense, "_AHEAD", ahead)
        assert_equal(summed(online(style, None), model, [batch]), got)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru_v1", "ind_rnn", "sru"])
@pytest.mark.parametrize("style", ["rtrl", "snap1", "eprop"])
def test_where_batches_are_cut_changes_nothing(cell: str, style: OnlineStyle):
    whole = a_batch(12, first=True)
    parts = [Batch(whole.x[:, a:b], whole.y[:, a:b], first=a == 0) for a, b in ((0, 5), (5, 6), (6, 12))]
    assert_equal(summed(online(style, 4), Net(cell), parts), summed(online(style, 4), Net(cell), [whole]))


@pytest.mark.parametrize("cell", ["elman", "lstm", "ind_rnn", "qrnn"])
@pytest.mark.parametrize("learned", [False, True])
def test_restarts_and_padding(cell: str, learned: bool):
    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[0, 3] = resets[1, 0] = resets[1, 2] = True
    batch = a_batch(resets=resets, lengths=torch.tensor([T, 5]))
    batch.x[1, 5:] = torch.nan
    model = Net(cell, learned_initial_state=learned)
    expected = summed(bptt, model, [batch])
    assert_equal(summed(online("rtrl", 2), model, [batch]), expected)


def test_stacks_and_embeddings_are_exact_too():
    """The influence of everything learned on every state: two layers above a table, the first state learned."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(4)
            self.table = nn.Embedding(5, X)
            self.layers = Recurrent("lstm", X, 3, num_layers=2, residual=True, learned_initial_state=True)
            self.head = nn.Linear(3, Y)
            self.double()
            for value in self.layers.parameters():
                nn.init.normal_(value, std=0.6)

        def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
            y, state = self.layers(self.table(x), state, lengths=lengths, resets=resets)
            return self.head(y), state

    resets = torch.zeros(B, T, dtype=torch.bool)
    resets[1, 4] = True
    tokens = torch.randint(0, 5, (B, T), generator=torch.Generator().manual_seed(5))
    batch = Batch(tokens, a_batch().y, torch.tensor([6, T]), resets)
    model = Words()
    assert_equal(summed(online("rtrl", 3), model, [batch]), summed(bptt, model, [batch]))
    for style in ("snap1", "eprop", "uoro"):
        found = summed(online(style, 3), model, [batch])
        assert all(bool(part.isfinite().all()) for part in found.values())


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru_v1", "min_gru"])
def test_weights_may_change_between_updates(cell: str):
    """Each step's own weights are copies of their own; the gradient of loss t is the sum over all copies so far."""
    model, batch = Net(cell), a_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    copies: list[dict[str, Tensor]] = []
    state: Any = None
    updates = online("rtrl")(model, squared, batch, None)
    for t in range(T):
        copies.append({name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()})
        arguments: Any = (batch.x[:, t : t + 1], state)
        y, state = torch.func.functional_call(model, copies[-1], arguments)
        loss = (y[:, 0] - batch.y[:, t]).square().sum()
        expected = {name: torch.zeros_like(value) for name, value in copies[0].items()}
        for copy in copies:
            parts = torch.autograd.grad(loss, [*copy.values()], retain_graph=True, allow_unused=True)
            for name, part in zip(copy, parts, strict=True):
                expected[name] += 0 if part is None else part
        due = next(updates)
        torch.testing.assert_close(due.loss_sum, loss.detach(), **EXACT)
        assert_equal(
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}, expected
        )
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("cell", ["elman", "sru", "lstm"])
def test_the_influence_matrix_is_the_jacobian(cell: str):
    layer, x = Net(cell).layer, a_batch().x
    found = influence(layer, x)
    names, values = [name.removeprefix("units.0.") for name, _ in layer.named_parameters()], [*layer.parameters()]

    def final(*parameters: Tensor) -> Tensor:
        _, state = torch.func.functional_call(layer, dict(zip([n for n, _ in layer.named_parameters()], parameters)), x)  # noqa: B905
        return torch.cat([*state[0]], -1)

    expected = torch.autograd.functional.jacobian(final, tuple(values))
    assert_equal(found, dict(zip(names, expected, strict=True)))


@pytest.mark.parametrize("style", ["rtrl", "snap1", "eprop", "uoro"])
def test_memory_does_not_grow_with_the_length(style: OnlineStyle):
    """What is carried, and what autograd keeps at once, are of one size for 40 and for 400 steps."""

    def kept(steps: int) -> tuple[int, int]:
        sizes: list[int] = []
        carry: Carry | None = None

        def pack(tensor: Tensor) -> Tensor:
            sizes[-1] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            sizes.append(0)
            for due in online(style, 1)(Net("gru"), squared, a_batch(steps), None):
                carry = due.carry
                sizes.append(0)
        assert carry is not None
        return sum(part.numel() for part in carry.memory or ()), max(sizes)

    assert kept(40) == kept(400)


def test_one_target_a_sequence():
    class Last(Net):
        def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
            y, state = super().forward(x, state, lengths, resets)
            return y[:, -1], state

    def last(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        return (outputs - batch.y).square().sum(), len(batch.y)

    model, batch = Last("lstm"), a_batch()._replace(y=torch.ones(B, Y, dtype=torch.float64))
    found = []
    for method in (bptt, online("rtrl", 1)):
        model.zero_grad()
        (due,) = method(model, last, batch, None)
        assert due.steps == T
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert_equal(found[1], found[0])


def test_settings_name_the_methods():
    model, batch = Net("lstm"), a_batch()
    for style in ("rtrl", "snap1", "eprop"):
        configured = gradient_method(GradientConfig(style=style, k1=3))
        assert_equal(summed(configured, model, [batch]), summed(online(style, 3), model, [batch]))
    dues = [*gradient_method(GradientConfig(style="uoro"))(model, squared, batch, None)]
    assert [due.steps for due in dues] == [*range(1, T + 1)]
    with pytest.raises(ValueError, match="k2 belongs to truncated BPTT"):
        GradientConfig(style="rtrl", k2=3)


def test_what_cannot_go_forward_is_refused():
    batch = a_batch()
    cases: list[tuple[nn.Module, str]] = [
        (Net("lstm", bidirectional=True), "backward in time"),
        (Net("lstm", reverse=True), "backward in time"),
        (Net("lstm", zoneout=0.1), "masks for a whole sequence"),
        (Net("lstm", recurrent_dropout=0.1), "masks for a whole sequence"),
        (nn.LSTM(X, H), "no recurrent layer of ours"),
    ]
    for model, fact in cases:
        with pytest.raises(ConfigError, match=fact):
            next(online("rtrl")(model, squared, batch, None))
    with pytest.raises(ConfigError, match="there are the styles rtrl, snap1, eprop, uoro"):
        online("backwards")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="at least 1"):
        online("rtrl", 0)

    class Twice(Net):
        def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
            y, _ = super().forward(x, state, lengths, resets)
            again, state = super().forward(x, state, lengths, resets)
            return y + again, state

    with pytest.raises(ConfigError, match="called twice"):
        next(online("eprop")(Twice("lstm"), squared, batch, None))

    class Beside(Net):
        def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
            y, inner = super().forward(x, state[0] if state else None, lengths, resets)
            return y, (inner, y[:, -1])

    with pytest.raises(ConfigError, match="keeps a state beside"):
        next(online("eprop")(Beside("lstm"), squared, batch, None))
    big = Recurrent("lstm", 256, 256)
    with pytest.raises(ConfigError, match=r"influence matrix of 64 rows .* parameters is [\d,]+ B"):
        next(online("rtrl")(big, squared, Batch(torch.zeros(64, 2, 256), torch.zeros(64, 2, 256)), None))
    # After an error the layers are as they were.
    model = Twice("lstm")
    with pytest.raises(ConfigError):
        next(online("eprop")(model, squared, batch, None))
    assert "forward" not in model.layer.units[0].__dict__
