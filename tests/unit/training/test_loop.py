"""The loop against one written out by hand, and what it does besides updating."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recurra.base.config import load, save
from recurra.base.errors import CheckpointError, ConfigError, DataError, TrainingError
from recurra.base.rng import Streams
from recurra.data.batch import Batch
from recurra.training.callback import Callback, every
from recurra.training.checkpoint import load as load_checkpoint
from recurra.training.checkpoint import load_weights
from recurra.training.config import (
    AverageConfig,
    ClipConfig,
    GradientConfig,
    OptimConfig,
    ScheduleConfig,
    StoppingConfig,
    TrainConfig,
    WatchConfig,
)
from recurra.training.evaluate import evaluate
from recurra.training.log import read_lines
from recurra.training.loop import Trainer
from recurra.training.progress import Progress
from recurra.training.stream import Batches

B, T, X, H = 2, 6, 3, 4


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.dropout = nn.RNN(X, H, batch_first=True), nn.Linear(H, 1), nn.Dropout(dropout)
        self.starts: list[bool] = []

    def forward(self, x: Tensor, state=None, lengths=None, resets=None):
        self.starts.append(state is None)
        y, h = self.rnn(self.dropout(x), None if state is None else state[0].transpose(0, 1).contiguous())
        return self.head(y), (h.transpose(0, 1),)


def squared(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
    return (outputs - batch.y).square().sum(), batch.y.numel()


def batches(count: int = 3, epochs_start: bool = True) -> Batches:
    draw = torch.Generator().manual_seed(1)
    return Batches(
        [
            Batch(
                torch.randn(B, T, X, generator=draw),
                torch.randn(B, T, 1, generator=draw),
                first=epochs_start and n == 0,
            )
            for n in range(count)
        ]
    )


def settings(**values) -> TrainConfig:
    plain = {"iterations": 7, "log_every": 1, "evaluate_every": 0, "checkpoint_every": 0, "sample_every": 0}
    return TrainConfig(**{**plain, "optim": OptimConfig(name="sgd", learning_rate=0.1), "sample_at": (), **values})


def weights(net: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def test_a_run_is_the_loop_one_would_write(tmp_path: Path):
    net, expected, norms, losses = Net(), Net(), [], []
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.05)
    state = None
    for iteration in range(1, 8):
        batch = list(batches())[(iteration - 1) % 3]
        y, new = expected(batch.x, None if batch.first else state)
        state = (new[0].detach(),)
        optimizer.zero_grad()
        loss = (y - batch.y).square().mean()
        losses.append(float(loss.detach()))
        l2 = sum(p.square().sum() for p in expected.parameters() if p.dim() > 1) / 2
        (loss + 0.1 * l2).backward()
        norms.append(float(nn.utils.clip_grad_norm_(expected.parameters(), 0.5)))
        optimizer.param_groups[0]["lr"] = 0.05 * min(1.0, iteration / 4)
        optimizer.step()
    config = settings(
        optim=OptimConfig(name="adam", learning_rate=0.05, beta2=0.999, l2=0.1),
        schedule=ScheduleConfig(warmup=4),
        clip=ClipConfig(norm=0.5),
    )
    Trainer(net, squared, batches(), config, folder=tmp_path).train()
    torch.testing.assert_close(weights(net), weights(expected), rtol=1e-4, atol=1e-6)
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["loss"] for line in lines] == pytest.approx(losses, rel=1e-5)
    assert [line["grad_norm"] for line in lines] == pytest.approx(norms, rel=1e-4)
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.0125, 0.025, 0.0375, *[0.05] * 4])


def test_state_is_carried_and_dropped_at_the_first_batch():
    net = Net()
    Trainer(net, squared, batches(), settings(iterations=0, epochs=2)).train()
    assert net.starts == [True, False, False] * 2
    # Windows [0, 2) and [0, 4) begin at the start of the stream, and so does the way to step 2; then never again.
    net = Net()
    k2 = GradientConfig(style="sliding", k1=2, k2=4)
    Trainer(net, squared, batches(), settings(iterations=0, epochs=2, gradient=k2)).train()
    assert net.starts == ([True] * 3 + [False] * 13) * 2


@pytest.mark.parametrize("k1", [1, 2, 6])
def test_loss_and_gradient_do_not_grow_with_k1(tmp_path: Path, k1: int):
    """With a rate of next to nothing every k1 gives the loss of full BPTT, and the mean gradient of its updates too."""
    lines = []
    for name, gradient in {"full": GradientConfig(), "k1": GradientConfig(style="sliding", k1=k1, k2=6)}.items():
        rate, clip = OptimConfig(name="sgd", learning_rate=1e-12), ClipConfig(norm=None)
        config = settings(iterations=0, epochs=1, gradient=gradient, optim=rate, log_every=100, clip=clip)
        trainer = Trainer(Net(), squared, batches(1), config, folder=tmp_path / name)
        gradients: list[Tensor] = []
        trainer.optimizer.register_step_pre_hook(
            lambda *_, seen=gradients, at=trainer: seen.append(
                torch.cat([p.grad.flatten() for p in at.parameters if p.grad is not None])
            )
        )
        trainer.train()
        loss = read_lines(tmp_path / name / "metrics.jsonl")[0]["loss"]
        lines.append((loss, torch.stack(gradients).mean(0)))
    assert lines[0][0] == pytest.approx(lines[1][0], rel=1e-5)
    torch.testing.assert_close(lines[0][1], lines[1][1], rtol=1e-4, atol=1e-6)


def test_limits(tmp_path: Path):
    assert Trainer(Net(), squared, batches(), settings(iterations=5)).train()[:2] == (5, "iterations")
    assert Trainer(Net(), squared, batches(), settings(iterations=0, epochs=2)).train()[:2] == (6, "epochs")
    k1 = GradientConfig(style="chunked", k1=2)
    assert Trainer(Net(), squared, batches(), settings(iterations=0, epochs=2, gradient=k1)).train()[:2] == (
        18,
        "epochs",
    )
    assert Trainer(Net(), squared, batches(), settings(iterations=0, minutes=1e-9)).train().reason == "minutes"
    with pytest.raises(ValueError, match="nothing ends this run"):
        TrainConfig()


def test_early_stopping_gives_back_the_best_weights(tmp_path: Path):
    net, losses, seen = Net(), iter([3.0, 1.0, 2.0, 1.5, 0.5]), []

    def judge(model: nn.Module) -> dict[str, float]:
        assert not model.training
        seen.append(weights(model).clone())
        return {"loss": next(losses)}

    config = settings(iterations=0, evaluate_every=2, stopping=StoppingConfig(patience=2))
    result = Trainer(net, squared, batches(), config, evaluate=judge, folder=tmp_path / "run").train()
    assert result[:2] == (8, "patience")
    assert (result.best, result.best_iteration) == (1.0, 4)
    assert torch.equal(weights(net), seen[1])
    saved, info = load_weights(tmp_path / "run" / "weights.safetensors")
    assert info == {"iteration": 4, "metrics": {"loss": 1.0}}
    assert torch.equal(saved["head.weight"], net.head.weight)
    # The checkpoint has the last weights: that is what one goes on from.
    last = load_checkpoint(tmp_path / "run" / "checkpoint" / "latest.safetensors")["weights"]
    assert torch.equal(torch.cat([last[name].flatten() for name, _ in net.named_parameters()]), seen[3])


def test_the_average_is_what_is_judged_and_kept(tmp_path: Path):
    net, seen = Net(), []
    config = settings(evaluate_every=1, average=AverageConfig(kind="ema", decay=0.9))
    trainer = Trainer(
        net,
        squared,
        batches(),
        config,
        evaluate=lambda m: (seen.append(weights(m).clone()), {"loss": -float(len(seen))})[1],
    )
    trainer.train()
    assert torch.equal(weights(net), seen[-1])
    assert trainer.average is not None
    with trainer.average.applied(other := Net()):
        assert torch.equal(weights(other), seen[-1])


def test_looking_changes_nothing_about_the_training(tmp_path: Path):
    """Dropout draws from torch's global generator; so do these callbacks, and the curve is the same without them."""

    def draw(_) -> dict[str, float]:
        return {"loss": float(torch.rand(10).sum())}

    curves = []
    for look in (True, False):
        folder = tmp_path / str(look)
        extras = {"evaluate": draw, "sample": lambda model: str(draw(model))} if look else {}
        callbacks = [Callback(every(3), lambda trainer: print(torch.rand(5)))] if look else []
        config = settings(evaluate_every=2, sample_at=(1, 3))
        trainer = Trainer(Net(dropout=0.5), squared, batches(), config, folder=folder, callbacks=callbacks, **extras)
        torch.manual_seed(5)
        trainer.train()
        curves.append([line["loss"] for line in read_lines(folder / "metrics.jsonl") if line["split"] == "train"])
    assert curves[0] == curves[1]
    assert len(curves[0]) == 7


def test_samples_are_shown_and_written(tmp_path: Path):
    stream = io.StringIO()
    config = settings(sample_at=(2, 3), sample_every=5)
    Trainer(
        Net(),
        squared,
        batches(),
        config,
        sample=lambda model: "once [upon]",
        folder=tmp_path,
        progress=Progress("plain", stream),
    ).train()
    lines = read_lines(tmp_path / "samples.jsonl")
    assert lines == [{"iteration": n, "text": "once [upon]"} for n in (2, 3, 5)]
    assert stream.getvalue().count("once [upon]") == 3


def test_metrics_of_a_run(tmp_path: Path):
    Trainer(
        Net(),
        squared,
        batches(),
        settings(log_every=3, evaluate_every=6),
        folder=tmp_path,
        evaluate=lambda model: evaluate(model, squared, batches()),
    ).train()
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["split"], line["iteration"], line["epoch"]) for line in lines] == [
        ("train", 3, 1), ("train", 6, 2), ("valid", 6, 2), ("train", 7, 2), ("valid", 7, 2),
    ]  # fmt: skip
    assert set(lines[0]) == {
        "iteration", "epoch", "split", "loss", "grad_norm", "learning_rate", "tokens_per_s", "wall_s",
    }  # fmt: skip


def exploding(outputs: Tensor, batch: Batch, at: list[int]) -> tuple[Tensor, int]:
    at[0] -= 1
    loss, count = squared(outputs, batch)
    return loss * (math.nan if at[0] == 0 else 1.0), count


def test_nothing_that_is_not_finite_reaches_the_weights(tmp_path: Path):
    net, before = Net(), []
    counter = [5]
    trainer = Trainer(
        net,
        lambda o, b: exploding(o, b, counter),
        batches(),
        settings(checkpoint_every=2),
        folder=tmp_path,
        callbacks=[Callback(every(1), lambda t: before.append(weights(t.model).clone()))],
    )
    with pytest.raises(TrainingError, match="the loss is nan at iteration 5") as caught:
        trainer.train()
    assert "Last checkpoint: iteration 4 in" in str(caught.value)
    assert len(before) == 4
    assert torch.equal(weights(net), before[-1])


def test_a_skipped_update_leaves_weights_and_drops_the_state(tmp_path: Path):
    net, seen, counter = Net(), [], [4]
    trainer = Trainer(
        net,
        lambda o, b: exploding(o, b, counter),
        batches(9),
        settings(watch=WatchConfig(nonfinite="skip")),
        callbacks=[Callback(every(1), lambda t: seen.append(weights(t.model).clone()))],
        folder=tmp_path,
    )
    assert trainer.train().iteration == 7
    assert trainer.skips == 1
    assert torch.equal(seen[3], seen[2])
    assert not torch.equal(seen[4], seen[3])
    # first batch, the forward pass that looks for the step, and the batch after it start from the initial state
    assert net.starts[:6] == [True, False, False, False, False, True]
    (event,) = read_lines(tmp_path / "events.jsonl")
    assert (event["iteration"], event["event"]) == (4, "nonfinite")


def test_a_batch_of_padding_alone_makes_no_update():
    def masked(outputs: Tensor, batch: Batch) -> tuple[Tensor, int]:
        return (outputs * 0).sum(), 0 if float(batch.x[0, 0, 0]) == 9.0 else B * T

    padding = Batch(torch.full((B, T, X), 9.0), torch.zeros(B, T, 1))
    real = Batch(torch.ones(B, T, X), torch.zeros(B, T, 1), first=True)
    trainer = Trainer(Net(), masked, Batches([real, padding, real]), settings(iterations=0, epochs=2))
    assert trainer.train().iteration == 4


def test_an_empty_stream_is_reported():
    with pytest.raises(DataError, match="no batch in a whole epoch"):
        Trainer(Net(), squared, Batches([]), settings()).train()


def test_plateau_and_patience_need_an_evaluation():
    for values in ({"schedule": ScheduleConfig(name="plateau")}, {"stopping": StoppingConfig(patience=1)}):
        with pytest.raises(ConfigError, match="need an evaluation"):
            Trainer(Net(), squared, batches(), settings(**values))


def test_without_a_folder_there_is_nothing_to_resume():
    with pytest.raises(CheckpointError, match="a run without a folder has no checkpoint"):
        Trainer(Net(), squared, batches(), settings()).resume()


def test_named_streams_are_saved_with_the_run(tmp_path: Path):
    runs = []
    for stop in (7, 4):
        folder = tmp_path / str(stop)
        streams = Streams(3)
        draws: list[float] = []
        note = Callback(every(1), lambda t, draws=draws: draws.append(float(torch.rand(1, generator=t.streams["a"]))))
        Trainer(
            Net(), squared, batches(), settings(iterations=stop), streams=streams, callbacks=[note], folder=folder
        ).train()
        if stop == 4:
            Trainer(
                Net(), squared, batches(), settings(), streams=Streams(3), callbacks=[note], folder=folder
            ).resume().train()
        runs.append(draws)
    assert runs[0] == runs[1]


def test_bfloat16_keeps_weights_in_float32():
    net = Net()
    Trainer(net, squared, batches(), settings(precision="bfloat16")).train()
    other = Net()
    Trainer(other, squared, batches(), settings()).train()
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert not torch.equal(weights(net), weights(other))
    torch.testing.assert_close(weights(net), weights(other), rtol=0.05, atol=0.02)


def test_evaluation_is_the_mean_over_all_positions_with_state_carried():
    net = Net()
    x, y = (torch.cat([getattr(batch, name) for batch in batches()], 1) for name in "xy")
    with torch.no_grad():
        expected = float((net(x)[0] - y).square().mean())
    got = evaluate(net, squared, batches())
    assert got == {"loss": pytest.approx(expected, rel=1e-5), "positions": B * T * 3}
    assert net.training
    assert evaluate(net, squared, batches(), batches=1)["positions"] == B * T
    with pytest.raises(DataError, match="no position to evaluate on"):
        evaluate(net, squared, [])


def test_settings_go_through_a_file(tmp_path: Path):
    config = settings(gradient=GradientConfig(style="exact", k1=2, k2=9), clip=ClipConfig(norm=None, value=1.0))
    save(config, tmp_path / "config.toml")
    assert load(TrainConfig, tmp_path / "config.toml") == config
    with pytest.raises(ConfigError) as caught:
        load(TrainConfig, tmp_path / "config.toml", ["optim.learning_rate=-1", "gradient.k2=1", "schedule.name=cosin"])
    assert "optim.learning_rate" in str(caught.value)
    assert "schedule.name" in str(caught.value)
