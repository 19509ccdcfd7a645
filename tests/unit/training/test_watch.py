"""What goes wrong is found before the weights see it, and named."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from recurra.base.errors import TrainingError
from recurra.data.batch import Batch
from recurra.training.config import WatchConfig
from recurra.training.watch import Watch, first_bad_step, spike_score

BATCH = Batch(torch.ones(2, 5, 3), torch.zeros(2, 5, 1), first=True)


class Net(nn.Module):
    """y_t = w x_t summed; the state counts steps."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor, state=None, lengths=None, resets=None):
        return (x * self.w).sum(-1, keepdim=True), state


def look(
    watch: Watch, loss: float, norm: float = 1.0, net: Net | None = None, batch: Batch = BATCH, iteration: int = 7
):
    return watch.look(iteration, loss, norm, net or Net(), batch, None)


def test_a_gradient_that_is_not_finite_is_named():
    net = Net()
    net.w.grad = torch.tensor([1.0, math.nan, math.inf])
    watch = Watch()
    look(watch, 2.25)
    with pytest.raises(TrainingError) as caught:
        look(watch, 2.5, math.nan, net)
    for part in (
        "the gradient norm is nan at iteration 7",
        "Losses before it: 2.25.",
        "Gradients that are not finite: w (3,): 2 of 3 entries",
        "The weights are as they were.",
        "lower optim.learning_rate",
    ):
        assert part in str(caught.value)


def test_the_time_step_of_the_first_bad_output_is_named():
    net = Net()
    batch = BATCH._replace(x=BATCH.x.clone())
    # Finite inputs whose product overflows float32 at row 1, step 3.
    batch.x[1, 3] = 3e38
    with pytest.raises(TrainingError, match="first output that is not finite: row 1, step 3 of the batch"):
        look(Watch(), math.inf, 1.0, net, batch)
    assert first_bad_step(net, batch, None) == (1, 3)
    assert first_bad_step(net, BATCH, None) is None
    assert net.training


def test_a_bad_input_is_named():
    batch = BATCH._replace(x=BATCH.x.clone())
    batch.x[1, 2, 0] = math.nan
    with pytest.raises(TrainingError, match="The input is not finite: row 1, step 2") as caught:
        look(Watch(), math.nan, math.nan, batch=batch)
    assert "mend the data" in str(caught.value)


def test_weights_that_are_bad_already_are_named():
    net = Net()
    with torch.no_grad():
        net.w[1] = math.nan
    with pytest.raises(TrainingError, match=r"Weights that are not finite already: w \(3,\): 1 of 3 entries"):
        look(Watch(), math.nan, math.nan, net)


def test_a_loss_that_fails_on_finite_outputs_is_told_apart():
    with pytest.raises(TrainingError, match="the outputs are finite, so look at the loss first"):
        look(Watch(), math.nan, math.nan)


def test_a_norm_that_overflows_is_told_from_a_bad_entry():
    net = Net()
    net.w.grad = torch.full((3,), 3e38)
    with pytest.raises(TrainingError, match="Every entry of the gradient is finite: it is so large"):
        look(Watch(), 1.0, math.inf, net)


def test_skipping_goes_on_until_there_are_too_many_in_a_row():
    watch = Watch(WatchConfig(nonfinite="skip", most_skips=2))
    for _ in range(2):
        verdict = look(watch, math.nan)
        assert (verdict.update, verdict.event) == (False, "nonfinite")
    assert look(watch, 1.0).update
    for _ in range(2):
        look(watch, math.nan)
    with pytest.raises(TrainingError, match="the 3th update in a row"):
        look(watch, math.nan)


LEVEL = [2.0 + 0.1 * (n % 3) for n in range(30)]


def after_level(config: WatchConfig) -> Watch:
    watch = Watch(config)
    for loss in LEVEL:
        assert look(watch, loss) == (True, None, "")
    return watch


@pytest.mark.parametrize(("spike", "update"), [("warn", True), ("skip", False)])
def test_a_spike_is_an_event(spike, update: bool):
    verdict = look(after_level(WatchConfig(spike=spike)), 5.0, iteration=31)
    assert (verdict.update, verdict.event) == (update, "spike")
    assert "the loss jumped to 5 at iteration 31, 19.6 robust standard deviations above the median 2.1" in verdict.text


def test_a_spike_stops_where_told():
    with pytest.raises(TrainingError, match="the loss jumped to 5"):
        look(after_level(WatchConfig(spike="stop")), 5.0)
    assert look(after_level(WatchConfig(spike="ignore")), 5.0).event is None


def test_a_falling_or_wavering_loss_is_no_spike():
    watch = Watch(WatchConfig(spike="stop"))
    for n in range(300):
        look(watch, 3.0 * math.exp(-n / 100) + 1.0 + 0.05 * math.sin(n))


def test_a_new_level_is_an_event_only_until_it_is_known():
    watch = after_level(WatchConfig(window=20))
    events = [look(watch, 5.0).event for _ in range(20)]
    assert events[0] == "spike"
    assert events[-1] is None


def test_score_needs_ten_losses():
    assert spike_score(100.0, LEVEL[:9]) == 0
    assert spike_score(100.0, LEVEL[:10]) > 100
    assert spike_score(1.0, LEVEL) < 0


def test_memory_goes_through_a_checkpoint():
    one, other = after_level(WatchConfig()), Watch()
    other.load_state_dict(one.state_dict())
    assert look(other, 5.0) == look(one, 5.0)
