"""What the diagnostics look at: cut, copied to float64, refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import DataError, ShapeError
from recurra.data.vocabulary import Vocabulary
from recurra.diagnostics.subject import Inspectable, Subject
from recurra.layers import Recurrent
from recurra.tasks.text.model import TextModel
from recurra.tasks.text.settings import ModelSettings, TextSettings
from recurra.tasks.text.writer import TextRun


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).pow(2).sum(-1)


def subject(**given: object) -> Subject:
    torch.manual_seed(0)
    example = {"inputs": torch.randn(3, 7, 2), "targets": torch.randn(3, 7, 4), "lengths": torch.tensor([7, 2, 5])}
    whole: dict = {"name": "s", "model": Recurrent("gru", 2, 4).train(), "losses": squares, **example, **given}
    return Subject(**whole)


def text_run(level: str = "char") -> TextRun:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of("abc \n") if level == "char" else Vocabulary.bytes()
    settings = TextSettings(model=ModelSettings(hidden_size=6, num_layers=1, embedding_size=3))
    return TextRun(TextModel(settings.model, len(vocabulary)), vocabulary, settings, None)


def test_the_model_is_run_as_its_task_runs_it_and_in_evaluation_mode() -> None:
    one = subject()
    assert not one.model.training
    wanted, _ = one.model(one.inputs, lengths=one.lengths)
    assert torch.equal(one.outputs(one.x), wanted)
    assert one.loss(wanted).shape == (3, 7)
    assert list(one.layers) == [""]


def test_float64_is_a_copy() -> None:
    one = subject()
    twice = one.double()
    assert {p.dtype for p in twice.model.parameters()} == {torch.float64} == {twice.inputs.dtype, twice.targets.dtype}
    assert {p.dtype for p in one.model.parameters()} == {torch.float32}
    torch.testing.assert_close(twice.outputs(twice.x).float(), one.outputs(one.x))


def test_a_part_is_the_first_rows_and_steps_with_their_names() -> None:
    one = subject(steps=[[f"{row}.{step}" for step in range(7)] for row in range(3)])
    part = one.part(2, 3)
    assert part.inputs.shape == (2, 3, 2)
    assert part.targets.shape == (2, 3, 4)
    assert part.valid == [3, 2]
    assert part.step_names(1) == ["1.0", "1.1"]
    assert one.part(99, 99).inputs.shape == one.inputs.shape


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"inputs": torch.zeros(3)}, ShapeError, r"inputs must be \(B, T\)"),
        ({"inputs": torch.zeros(3, 0, 2), "steps": ()}, DataError, "the example is empty: 3 rows of 0 steps"),
        ({"targets": torch.zeros(2, 7, 4)}, ShapeError, "targets must have B = 3 rows"),
        ({"lengths": torch.tensor([1])}, ShapeError, r"lengths must be \(B,\) = \(3,\)"),
        ({"steps": [["a"]]}, ShapeError, "3 rows of 7 names"),
        ({"inputs": torch.full((3, 7, 2), torch.nan)}, DataError, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        subject(**given)


def test_padding_may_hold_anything() -> None:
    inputs = torch.zeros(3, 7, 2)
    inputs[1, 2:] = torch.nan
    assert subject(inputs=inputs).valid == [7, 2, 5]


def test_a_text_run_gives_consecutive_rows_and_shows_blanks_as_signs(tmp_path: Path) -> None:
    run = text_run()
    assert isinstance(run, Inspectable)
    path = tmp_path / "a.txt"
    path.write_text("ab c\n" * 60, encoding="utf-8")
    one = run.subject([path], rows=3, steps=80)
    assert one.inputs.shape == (3, 80)
    assert "".join([*one.steps[0], *one.steps[1]])[:7] == "ab␣c⏎ab"
    assert torch.equal(one.inputs.flatten()[1:], one.targets.flatten()[:-1])
    assert one.output_name(0) == "⏎"
    # The same loss as the run itself measures, where the state begins anew in each row.
    tokens = [*one.inputs[0].tolist(), int(one.targets[0, -1])]
    wanted = run.score(torch.tensor(tokens).numpy()).nats
    assert one.loss(one.outputs(one.x))[0].mean().item() == pytest.approx(wanted, rel=1e-5)


def test_a_text_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("ab")
    (tmp_path / "other.txt").write_text("αβγ" * 50, encoding="utf-8")
    for name, says in (("empty", "is empty"), ("short", "2 symbols are too few"), ("other", "α")):
        with pytest.raises(DataError, match=says):
            text_run().subject([tmp_path / f"{name}.txt"])
    with pytest.raises(DataError, match="recurra inspect RUN FILE"):
        text_run().subject()


def test_bytes_have_names_too(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes([65, 32, 10, 200]) * 9)
    assert text_run("byte").subject([path]).step_names()[:4] == ["A", "␣", "⏎", "c8"]


def test_a_model_without_recurrent_layers_has_none() -> None:
    line = nn.Linear(2, 4)
    one = subject(model=line, answer=lambda model, x, _: model(x))
    assert one.layers == {}
    assert one.outputs(one.x).shape == (3, 7, 4)
