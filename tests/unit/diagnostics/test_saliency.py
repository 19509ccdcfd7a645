"""Saliency against the whole Jacobian, integrated gradients against completeness and a line taken in small steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import ShapeError
from recurra.diagnostics.saliency import integrated_gradients, saliency
from recurra.diagnostics.subject import Subject
from recurra.layers import Recurrent

COMPLETE = 1e-6


class Tagger(nn.Module):
    """A recurrent layer and an output layer; one answer a sequence where `last`."""

    def __init__(self, cell: str, last: bool = False, **options: Any) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.recurrent = Recurrent(cell, 3, 6, generator=generator, **options)
        self.out, self.last = nn.Linear(self.recurrent.output_width, 4), last
        with torch.no_grad():
            for parameter in self.out.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        y, state = self.recurrent(x, state, lengths)
        if self.last:
            rows = torch.arange(len(x))
            y = y[rows, -1 if lengths is None else lengths - 1]
        return self.out(y), state


def subject(cell: str = "lstm", lengths: Tensor | None = None, last: bool = False, **options: Any) -> Subject:
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(5)).double()
    model = Tagger(cell, last, **options).double()
    targets = torch.zeros(2, 6, dtype=torch.int64) if not last else torch.zeros(2, dtype=torch.int64)
    return Subject(
        name="t",
        model=model,
        inputs=x,
        targets=targets,
        lengths=lengths,
        losses=lambda y, t: nn.functional.cross_entropy(y.movedim(-1, 1), t, reduction="none").view(len(t), -1),
    )


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_saliency_is_the_norm_of_the_jacobian(cell: str) -> None:
    one = subject(cell, num_layers=2)
    for row in (0, 1):
        whole = torch.autograd.functional.jacobian(lambda x: one.model(x)[0][0], one.inputs[row : row + 1])
        wanted = whole[:, :, 0].pow(2).sum((1, 3)).sqrt()
        np.testing.assert_allclose(saliency(one, row), wanted.numpy(), rtol=1e-10, atol=1e-14)
        one_output = whole[:, 2, 0].norm(dim=-1)
        np.testing.assert_allclose(saliency(one, row, output=2), one_output.numpy(), rtol=1e-10, atol=1e-14)


def test_random_probes_estimate_the_norm() -> None:
    one = subject("gru")
    exact, found = saliency(one), saliency(one, probes=4000)
    below = np.tril_indices(6)
    np.testing.assert_allclose(found[below], exact[below], rtol=0.05)
    np.testing.assert_array_equal(saliency(one, probes=3), saliency(one, probes=3))


def test_nothing_comes_from_the_future_unless_a_layer_reads_backwards() -> None:
    assert np.triu(saliency(subject("gru")), 1).max() == 0
    assert np.triu(saliency(subject("gru", bidirectional=True)), 1).max() > 0


def test_one_answer_a_sequence_gives_one_row_and_padding_is_left_out() -> None:
    one = subject(lengths=torch.tensor([6, 4]), last=True)
    found = saliency(one, 1)
    assert found.shape == (1, 4)
    whole = torch.autograd.functional.jacobian(lambda x: one.model(x)[0][0], one.inputs[1:2, :4])
    np.testing.assert_allclose(found[0], whole[:, 0].pow(2).sum((0, 2)).sqrt().numpy(), rtol=1e-10)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm", "peephole_lstm", "min_gru"])
def test_integrated_gradients_are_complete(cell: str) -> None:
    one = subject(cell, lengths=torch.tensor([6, 4]))
    for row in (0, 1):
        found = integrated_gradients(one, 1, row)
        size = one.valid[row]
        there = one.model(one.inputs[row : row + 1, :size])[0][0, -1, 1]
        nothing = one.model(torch.zeros(1, size, 3).double())[0][0, -1, 1]
        assert found.difference == pytest.approx((there - nothing).item(), abs=1e-12)
        assert abs(found.values.sum() - (there - nothing).item()) < COMPLETE
        assert found.values.shape == (size, 3)


def test_each_contribution_is_the_integral_along_the_line() -> None:
    one = subject("lstm")
    baseline = torch.full((6, 3), 0.3).double()
    found = integrated_gradients(one, 0, step=3, baseline=baseline)
    x, parts = one.inputs[0], 2000
    shares = (torch.arange(parts).double() + 0.5) / parts
    at = (baseline + shares[:, None, None] * (x - baseline)).requires_grad_()
    total = torch.autograd.grad(one.model(at)[0][:, 3, 0].sum(), at)[0].mean(0)
    np.testing.assert_allclose(found.values, (total * (x - baseline)).numpy(), atol=1e-6)
    assert np.abs(found.values[4:]).max() == 0, "a causal model owes nothing to later steps"


def test_a_linear_model_needs_no_more_than_the_first_points() -> None:
    line = nn.Linear(3, 4).double()
    one = subject()
    made = Subject(
        name="l", model=line, inputs=one.inputs, targets=one.targets, losses=one.losses, answer=lambda m, x, _: m(x)
    )
    found = integrated_gradients(made, 1)
    assert found.points == 16
    np.testing.assert_allclose(found.by_step[-1], (line.weight[1] @ one.inputs[0, -1]).item(), rtol=1e-12)
    assert np.abs(found.by_step[:-1]).max() == 0


def test_a_sharp_turn_is_found_and_halved_around() -> None:
    one = subject("lstm")
    with torch.no_grad():
        for parameter in one.model.parameters():
            parameter.mul_(6)
    found = integrated_gradients(one, 1, tolerance=1e-9)
    assert found.error < 1e-9 * max(1, abs(found.difference))
    assert 16 < found.points < 4096


def test_it_says_when_it_did_not_add_up() -> None:
    one = subject("relu_rnn")
    for most in (16, 100, 500):
        found = integrated_gradients(one, 1, tolerance=0.0, most_points=most)
        assert found.points <= most
        # Kinks keep it from being exact, and what was not halved still counts.
        assert 0 < found.error < 0.1


def test_what_does_not_exist_is_refused() -> None:
    one = subject(lengths=torch.tensor([6, 0]))
    for call, says in (
        (lambda: saliency(one, 2), r"row must lie in 0..1, got 2"),
        (lambda: saliency(one, 1), "row 1 has no valid step"),
        (lambda: saliency(one, 0, output=4), r"output must lie in 0..3, got 4"),
        (lambda: integrated_gradients(one, -1), r"output must lie in 0..3, got -1"),
        (lambda: integrated_gradients(one, 0, step=6), r"step must lie in 0..5, got 6"),
        (lambda: integrated_gradients(one, 0, baseline=torch.zeros(2, 3)), r"baseline must be \(T, F\) = \(6, 3\)"),
    ):
        with pytest.raises(ShapeError, match=says):
            call()
