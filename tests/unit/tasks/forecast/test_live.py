"""Forecasts on a stream are those of the table that ends with the row."""

from __future__ import annotations

import numpy as np
import pytest

from recurra.base.errors import ConfigError, DataError
from recurra.data.series import read_series
from recurra.tasks.forecast.fitting import changed as plain
from recurra.tasks.forecast.forecaster import Forecaster
from recurra.tasks.forecast.live import ForecastLive
from recurra.tasks.forecast.run import fit_series as fit
from recurra.tasks.forecast.settings import ForecastSettings

HORIZON, HOURS = 6, 220


def table(ids=("a", "b"), seed=0):
    g = np.random.default_rng(seed)
    stamps = np.datetime64("2024-03-01", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    t = np.arange(HOURS)
    parts = [10 * (k + 1) + np.sin(t * np.pi / 12) + 0.1 * g.normal(size=HOURS) for k in range(len(ids))]
    return {
        "unique_id": np.repeat(np.array(ids, object), HOURS),
        "ds": np.tile(stamps, len(ids)),
        "y": np.concatenate(parts),
        "wind": np.tile(np.cos(t / 7), len(ids)),
    }


def trained(**data) -> tuple[Forecaster, dict]:
    rows = table()
    settings = ForecastSettings(horizon=HORIZON)
    settings = plain(settings, name="direct", hidden=6, look_back=24)
    values = {"train.iterations": 3}
    import msgspec

    train = msgspec.structs.replace(settings.train, iterations=values["train.iterations"])
    settings = msgspec.structs.replace(settings, train=train, data=msgspec.structs.replace(settings.data, **data))
    return fit(read_series(rows, past=data.get("past", ())).univariate(), settings).forecaster, rows


def cut(rows, hours, series="a", drop=()):
    keep = (rows["unique_id"] == series) & np.isin(
        np.arange(len(rows["y"])) % HOURS, np.setdiff1d(np.arange(hours), drop)
    )
    return {name: column[keep] for name, column in rows.items()}


def stream(live, rows, hours, series="a", drop=()):
    said = None
    part = cut(rows, hours, series, drop)
    for place in range(len(part["y"])):
        values = np.array([[part[name][place] for name in live.columns]])
        said = live.step([series], [str(part["ds"][place])], values)[0]
    return said


@pytest.mark.parametrize("past", [(), ("wind",)])
def test_streamed_is_batch(past):
    forecaster, rows = trained(past=past)
    live = ForecastLive(forecaster, ("y",))
    for series, hours, drop in (("a", 30, ()), ("b", 100, ()), ("b", 120, (97, 98, 110))):
        live = ForecastLive(forecaster, ("y",))
        [record] = stream(live, rows, hours, series, drop)
        batch = forecaster.forecast(read_series(cut(rows, hours, series, drop), past=past, frequency="h"))
        np.testing.assert_allclose(record["forecast"], batch.median[0], rtol=1e-5)
        np.testing.assert_allclose(record["q0.9"], batch.quantiles[0, :, batch.levels.index(0.9)], rtol=1e-5)
        assert record["from"] == str(batch.stamps[0, 0]).replace("T", " ")[:19]


def test_streams_side_by_side_are_those_alone_and_a_state_goes_on():
    forecaster, rows = trained()
    both, again = ForecastLive(forecaster, ("y",)), ForecastLive(forecaster, ("y",))
    a, b = cut(rows, 60, "a"), cut(rows, 60, "b")
    for hour in range(60):
        values = np.array([[a["y"][hour]], [b["y"][hour]]])
        said = both.step(["a", "b"], [str(a["ds"][hour])] * 2, values)
        if hour == 40:
            again.load_state(both.state())
        if hour > 40:
            after = again.step(["a", "b"], [str(a["ds"][hour])] * 2, values)
            assert after == said
    [alone] = stream(ForecastLive(forecaster, ("y",)), rows, 60, "b")
    np.testing.assert_allclose(alone["forecast"], said[1][0]["forecast"], rtol=1e-5)


def test_memory_is_one_window():
    forecaster, rows = trained()
    live = ForecastLive(forecaster, ("y",))
    stream(live, rows, 30)
    before = live.state()["values"].nbytes
    stream(ForecastLive(forecaster, ("y",)), rows, 30)
    part = cut(rows, 200)
    for place in range(30, 200):
        live.step(["a"], [str(part["ds"][place])], part["y"][place, None, None])
    assert live.state()["values"].nbytes == before == 24 * 8


def test_bad_rows_are_told():
    forecaster, rows = trained()
    live = ForecastLive(forecaster, ("y",))
    stream(live, rows, 30)
    kept = live.state()["values"].copy()
    assert "does not lie after" in live.step(["a"], ["2024-03-01 05:00"], np.ones((1, 1)))[0][0]["error"]
    assert "whole number of steps" in live.step(["a"], ["2024-03-03 05:30"], np.ones((1, 1)))[0][0]["error"]
    assert "undated" in live.step(["a"], [None], np.ones((1, 1)))[0][0]["error"]
    assert "dates" in live.step(["a"], ["17"], np.ones((1, 1)))[0][0]["error"]
    assert "no value" in live.step(["new"], ["2024-03-03 05:00"], np.full((1, 1), np.nan))[0][0]["error"]
    np.testing.assert_array_equal(live.state()["values"][0], kept[0])
    with pytest.raises(DataError, match="infinite"):
        live.step(["a"], ["2024-03-03"], np.full((1, 1), np.inf))
    with pytest.raises(DataError, match="twice"):
        live.step(["a", "a"], ["2024-03-03"] * 2, np.ones((2, 1)))
    with pytest.raises(DataError, match=r"\(1, 1\)"):
        live.step(["a"], ["2024-03-03"], np.ones((1, 2)))


def test_covariates_of_the_future_cannot_be_streamed():
    rows = table()
    settings = plain(ForecastSettings(horizon=HORIZON), name="ridge", look_back=24)
    forecaster = fit(read_series(rows, known=("wind",)).univariate(), settings).forecaster
    with pytest.raises(ConfigError, match="wind"):
        ForecastLive(forecaster, ("y",))
