"""What broke, found where it was broken on purpose; and the record of eigenvalues over training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra.data.batch import Batch
from recurra.diagnostics.forensics import Recorder, bad_parameters, first_bad, read_log
from recurra.diagnostics.history import FILE, SpectrumRecord, read_spectra
from recurra.diagnostics.subject import Subject
from recurra.layers import Recurrent
from recurra.training.callback import Callback, every
from recurra.training.config import TrainConfig
from recurra.training.loop import Trainer


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).pow(2).sum(-1)


def subject(cell: str = "lstm", **options: Any) -> Subject:
    torch.manual_seed(0)
    layer = Recurrent(cell, 2, 4, num_layers=2, **options)
    return Subject(name="s", model=layer, inputs=torch.randn(3, 6, 2), targets=torch.zeros(3, 6, 4), losses=squares)


def line(iteration: int, loss: float | None, norm: float | None = 1.0) -> dict[str, Any]:
    return {"iteration": iteration, "split": "train", "loss": loss, "grad_norm": norm, "learning_rate": 0.5}


def test_a_healthy_log_says_so() -> None:
    found = read_log([line(i, 2.0) for i in range(20)])
    assert found.broke is None
    assert found.jumps == []
    assert "finite" in found.sentences[0]
    assert read_log([]).broke is None


def test_the_first_bad_line_and_what_came_before() -> None:
    lines = [line(i, 2.0 - 0.01 * i) for i in range(1, 21)] + [line(21, 9.0, 400.0), line(22, None, None)]
    found = read_log(lines)
    assert found.broke == 22
    assert found.jumps == [(21, "grad_norm", pytest.approx(400.0))]
    assert found.losses[-2:] == [(20, 1.8), (21, 9.0)]
    whole = " ".join(found.sentences)
    assert "first time at iteration 22" in whole
    assert "400 times its median at iteration 21" in whole
    assert "learning rate was 0.5" in whole


def test_an_update_that_was_left_out_is_found_in_the_events() -> None:
    event = {"iteration": 8, "event": "nonfinite", "text": "training: the loss is nan\n  Gradients: recurrent.0.U.f"}
    found = read_log([line(i, 2.0) for i in range(1, 20)], [event])
    assert found.broke == 8
    assert "Gradients: recurrent.0.U.f" in found.sentences
    assert found.losses[-1] == (7, 2.0)


@pytest.mark.parametrize(("layer", "name", "value"), [(0, "U.f", "f"), (1, "W.g", "g"), (1, "b.o", "o")])
def test_a_poisoned_parameter_is_found_by_its_gate(layer: int, name: str, value: str) -> None:
    one = subject()
    with torch.no_grad():
        one.layers[""].units[layer].named()[name].view(-1)[1] = torch.nan
    found = first_bad(one)
    assert found is not None
    assert (found.track, found.step, found.reads) == (f"layer {layer}", 0, name)
    assert name.replace(".", "_") in found.value or found.value == value
    bad = bad_parameters(one.model)
    assert list(bad) == [f"units.{layer}.{name}"]
    assert next(iter(bad.values())).startswith("1 of ")


def test_an_overflow_is_found_at_its_step_and_row() -> None:
    one = subject("relu_rnn")
    unit = one.layers[""].units[0]
    with torch.no_grad():
        unit.named()["U"].copy_(1e13 * torch.eye(4))
        unit.named()["W"].fill_(1.0)
    with torch.no_grad():
        one.inputs.zero_()
        one.inputs[1, 2] = 1.0
    found = first_bad(one)
    assert found is not None
    # 2, then 2e13, 2e26 and, after the third product at step 5, beyond float32.
    assert (found.track, found.row, found.step, found.reads) == ("layer 0", 1, 5, "")
    assert first_bad(one.double()) is None, "float64 holds it"


def test_nothing_is_found_where_all_is_well() -> None:
    assert first_bad(subject("gru")) is None
    assert bad_parameters(subject().model) == {}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = Recurrent("elman", 2, 4, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None, resets: Any = None) -> tuple[Tensor, Any]:
        return self.recurrent(x, state, lengths, resets)


class Same:
    epoch = 0

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(1)
        yield Batch(torch.randn(3, 5, 2, generator=generator), torch.ones(3, 5, 4))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, _: dict[str, Any]) -> None:
        pass


def objective(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    return (outputs - batch.y).pow(2).sum(), outputs.numel()


def test_the_callbacks_record_a_real_training_and_change_nothing(tmp_path: Path) -> None:
    def train(folder: Path | None, *callbacks: Callback) -> Net:
        net = Net()
        config = TrainConfig(iterations=6, checkpoint_every=0)
        Trainer(net, objective, Same(), config, folder=folder, callbacks=callbacks).train()  # type: ignore[arg-type]
        return net

    recorder, spectra = Recorder(window=4), SpectrumRecord()
    watched = train(tmp_path / "run", Callback(every(1), recorder), Callback(every(2), spectra))
    plain = train(None)
    for name, value in plain.named_parameters():
        assert torch.equal(value, watched.get_parameter(name))
    assert [iteration for iteration, _ in recorder.norms] == [3, 4, 5, 6]
    assert recorder.first_bad is None
    assert len(recorder.losses) == 4
    name, factor = recorder.fastest()[0]
    assert factor == pytest.approx(recorder.norms[-1][1][name] / recorder.norms[0][1][name])
    assert [moment.iteration for moment in spectra.moments] == [2, 4, 6]
    matrix = watched.recurrent.recurrent_matrices()["0.U"].detach().double().numpy()
    wanted = np.sort_complex(np.linalg.eigvals(matrix))
    kept = read_spectra(tmp_path / "run")
    assert [moment.iteration for moment in kept] == [2, 4, 6]
    np.testing.assert_allclose(np.sort_complex(kept[-1].eigenvalues["0.U"]), wanted, rtol=1e-4, atol=1e-5)


def test_the_linearised_step_is_recorded_too(tmp_path: Path) -> None:
    one = subject("elman")
    record = SpectrumRecord(one, steps=3)
    trainer = SimpleNamespace(model=one.model, iteration=7, folder=tmp_path)
    record(trainer)
    assert {name: len(values) for name, values in record.moments[0].eigenvalues.items()} == {
        "0.U": 4,
        "1.U": 4,
        "layer 0 step": 12,
        "layer 1 step": 12,
    }
    # Trained again from before, and killed while it wrote.
    trainer.iteration = 5
    record(trainer)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"iteration": 9, "0.U": [[1')
    assert [moment.iteration for moment in read_spectra(tmp_path)] == [5]
    assert read_spectra(tmp_path / "nothing") == []


def test_wide_matrices_are_left_out() -> None:
    one = subject("gru")
    record = SpectrumRecord(widest=3)
    record(SimpleNamespace(model=one.model, iteration=1, folder=None))
    assert record.moments[0].eigenvalues == {}


def test_a_parameter_that_went_bad_is_remembered() -> None:
    one, recorder = subject(), Recorder()
    trainer = SimpleNamespace(
        model=one.model, iteration=1, report=SimpleNamespace(interval=SimpleNamespace(count=2, loss=3.0))
    )
    recorder(trainer)
    assert recorder.fastest() == []
    with torch.no_grad():
        one.layers[""].units[0].named()["U.g"].fill_(torch.inf)
        one.layers[""].units[1].named()["W.i"].mul_(50)
    trainer.iteration = 2
    recorder(trainer)
    assert recorder.first_bad == (2, ["units.0.U.g"])
    assert recorder.fastest(1) == [("units.1.W.i", pytest.approx(50, rel=1e-5))]
    assert list(recorder.losses) == [(1, 1.5), (2, 1.5)]
