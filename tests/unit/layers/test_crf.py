"""The linear-chain CRF against the enumeration of all label sequences, and its padding."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from recurra.base.errors import ShapeError
from recurra.layers.crf import Constraints, LinearChainCRF
from tolerances import assert_close


def random_crf(labels: int, seed: int = 0) -> LinearChainCRF:
    crf = LinearChainCRF(labels).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return crf


def random_emissions(*shape: int, seed: int = 1) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score(crf: LinearChainCRF, emissions: torch.Tensor, labels: tuple[int, ...]) -> torch.Tensor:
    """The score of one label sequence, term by term; emissions (T, K)."""
    total = crf.start[labels[0]] + crf.end[labels[-1]]
    for step, label in enumerate(labels):
        total = total + emissions[step, label]
        if step:
            total = total + crf.transitions[labels[step - 1], label]
    return total


def enumeration(crf: LinearChainCRF, emissions: torch.Tensor) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """All label sequences and their scores; emissions (T, K)."""
    sequences = list(product(range(emissions.shape[1]), repeat=emissions.shape[0]))
    return sequences, torch.stack([score(crf, emissions, labels) for labels in sequences])


SIZES = [(1, 1), (1, 5), (3, 1), (2, 7), (3, 5), (5, 4)]


@pytest.mark.parametrize(("labels", "steps"), SIZES)
def test_enumeration_of_all_label_sequences(labels: int, steps: int) -> None:
    crf, emissions = random_crf(labels), random_emissions(2, steps, labels)
    decoded, marginals = crf.decode(emissions), crf.marginals(emissions)
    for row in range(2):
        sequences, scores = enumeration(crf, emissions[row])
        partition = torch.logsumexp(scores, 0)
        assert_close(crf.log_partition(emissions)[row], partition, "value", "log partition")
        assert decoded[row].tolist() == list(sequences[int(scores.argmax())])
        expected = torch.zeros(steps, labels, dtype=torch.float64)
        for sequence, probability in zip(sequences, (scores - partition).exp(), strict=True):
            expected[range(steps), sequence] += probability.detach()
        assert_close(marginals[row], expected, "value", "marginals")
        batch = emissions[row].expand(len(sequences), -1, -1)
        likelihood = crf.log_likelihood(batch, torch.tensor(sequences))
        assert_close(likelihood, scores - partition, "value", "log-likelihood")
        assert float(likelihood.detach().exp().sum()) == pytest.approx(1, abs=1e-12)


def test_marginals_are_the_gradient_of_the_log_partition() -> None:
    crf, lengths = random_crf(6), torch.tensor([63, 1, 40])
    emissions = random_emissions(3, 63, 6).requires_grad_()
    gradient = torch.autograd.grad(crf.log_partition(emissions, lengths).sum(), emissions)[0]
    assert_close(crf.marginals(emissions, lengths), gradient, "value", "marginals")
    with torch.inference_mode():
        assert_close(crf.marginals(emissions.clone(), lengths), gradient, "value", "marginals in inference mode")


def test_gradients() -> None:
    crf, lengths = random_crf(3), torch.tensor([4, 2])
    emissions, labels = random_emissions(2, 4, 3).requires_grad_(), torch.tensor([[0, 2, 2, 1], [1, 1, -1, 7]])
    names = [name for name, _ in crf.named_parameters()]

    def likelihood(emissions: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        arguments = (emissions, labels, lengths)
        return torch.func.functional_call(
            crf, dict(zip(names, parameters, strict=True)), ("log_likelihood", *arguments)
        )

    # functional_call calls forward.
    crf.forward = lambda method, *arguments: getattr(crf, method)(*arguments)
    assert torch.autograd.gradcheck(likelihood, (emissions, *crf.parameters()))


@pytest.mark.parametrize("padding", [0.0, 1e9, float("nan"), float("inf")])
def test_each_row_is_as_alone_whatever_the_padding(padding: float) -> None:
    crf, lengths = random_crf(4), torch.tensor([5, 1, 63, 2])
    clean = random_emissions(4, 63, 4)
    labels = torch.randint(0, 4, (4, 63), generator=torch.Generator().manual_seed(2))
    behind = torch.arange(63) >= lengths[:, None]
    emissions = clean.masked_fill(behind.unsqueeze(2), padding).requires_grad_()
    labels = labels.masked_fill(behind, -1)
    likelihood = crf.log_likelihood(emissions, labels, lengths)
    decoded, marginals = crf.decode(emissions, lengths), crf.marginals(emissions, lengths)
    likelihood.sum().backward()
    together = [parameter.grad.clone() for parameter in crf.parameters()]
    crf.zero_grad()
    for row, length in enumerate(lengths.tolist()):
        alone = clean[row : row + 1, :length].clone().requires_grad_()
        expected = crf.log_likelihood(alone, labels[row : row + 1, :length])
        expected.sum().backward()
        assert_close(likelihood[row : row + 1], expected, "value", "log-likelihood")
        assert decoded[row].tolist() == crf.decode(alone)[0].tolist() + [-1] * (63 - length)
        assert_close(marginals[row, :length], crf.marginals(alone)[0], "value", "marginals")
        assert not marginals[row, length:].any()
        assert_close(emissions.grad[row, :length], alone.grad[0], "gradient", "gradient of the emissions")
        assert not emissions.grad[row, length:].any()
    for name, have, parameter in zip(("transitions", "start", "end"), together, crf.parameters(), strict=True):
        assert_close(have, parameter.grad, "gradient", name)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_constraints_select_among_the_allowed_sequences(steps: int) -> None:
    # O, B, I: an I follows a B or an I.
    transitions = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1]]).bool()
    constraints = Constraints(transitions, torch.tensor([1, 1, 0]).bool(), torch.tensor([1, 0, 1]).bool())
    for seed in range(20):
        crf, emissions = random_crf(3, seed), random_emissions(1, steps, 3, seed=seed + 100)
        sequences, scores = enumeration(crf, emissions[0])
        allowed = [
            bool(constraints.start[s[0]] and constraints.end[s[-1]]) and all(transitions[a, b] for a, b in pairwise(s))
            for s in sequences
        ]
        expected = sequences[int(scores.masked_fill(~torch.tensor(allowed), -torch.inf).argmax())]
        assert crf.decode(emissions, constraints=constraints)[0].tolist() == list(expected)


def test_a_row_that_no_allowed_sequence_fits_is_decoded_without_constraints() -> None:
    # B and E of BIOES: no sequence of an odd length is valid.
    crf, emissions, lengths = random_crf(2), random_emissions(2, 4, 2), torch.tensor([3, 4])
    constraints = Constraints(
        *(torch.tensor(mask) for mask in ([[False, True], [True, False]], [True, False], [False, True]))
    )
    decoded = crf.decode(emissions, lengths, constraints)
    assert decoded[0].tolist() == crf.decode(emissions, lengths)[0].tolist()
    assert decoded[1].tolist() == [0, 1, 0, 1]


def test_float32_stays_finite_over_long_sequences_and_large_scores() -> None:
    crf, exact = random_crf(9).float(), random_crf(9)
    emissions, labels = 30 * random_emissions(2, 500, 9), torch.randint(0, 9, (2, 500))
    likelihood = crf.log_likelihood(emissions.float(), labels)
    assert_close(likelihood.double(), exact.log_likelihood(emissions, labels), "rounding", "likelihood", torch.float32)
    assert float(crf.marginals(emissions.float()).detach().sum(2).sub(1).abs().max()) < 1e-5
    assert crf.decode(emissions.float()).tolist() == exact.decode(emissions).tolist()


def test_wrong_shapes_and_labels_are_refused() -> None:
    crf, emissions = LinearChainCRF(3), torch.zeros(2, 4, 3)
    with pytest.raises(ShapeError, match=r"labels must be at least 1, got 0"):
        LinearChainCRF(0)
    with pytest.raises(ShapeError, match=r"K = 3, got \(2, 4, 5\)"):
        crf.decode(torch.zeros(2, 4, 5))
    with pytest.raises(ShapeError, match=r"T >= 1 and K = 3, got \(2, 0, 3\)"):
        crf.log_partition(torch.zeros(2, 0, 3))
    with pytest.raises(ShapeError, match=r"lengths must be \(B,\) = \(2,\) from 1 to 4, got \[0, 4\]"):
        crf.marginals(emissions, torch.tensor([0, 4]))
    with pytest.raises(ShapeError, match=r"labels must be \(B, T\) = \(2, 4\), got \(2, 3\)"):
        crf.log_likelihood(emissions, torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"labels must be from 0 to 2, got -1 to 0"):
        crf.log_likelihood(emissions, torch.tensor([[0, 0, -1, 0], [0, 0, 0, 0]]))
    with pytest.raises(ShapeError, match=r"constraints must be bool of shapes \(3, 3\)"):
        crf.decode(emissions, constraints=Constraints(torch.ones(2, 2), torch.ones(3), torch.ones(3)))
