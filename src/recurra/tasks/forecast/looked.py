"""The attention of a forecasting net over its look-back, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from recurra.data.series.series_set import SeriesSet
from recurra.diagnostics.panels import Panel, panel_chart
from recurra.diagnostics.report import Figure
from recurra.tasks.forecast.sequence import AttentionNet
from recurra.tasks.forecast.simple import Members

__all__ = ["attention_figure", "attention_of"]


def attention_of(forecaster: Any, series: SeriesSet) -> dict[str, Any] | None:
    """Weights (H, L) of the newest window with a future, of the first member; None for a net without attention."""
    net = forecaster.net
    first = net.members[0] if isinstance(net, Members) else net
    if not isinstance(first, AttentionNet):
        return None
    ready = forecaster.preparation.apply(series)
    origins = series.ends - series.offsets[:-1] - forecaster.preparation.horizon
    windows = forecaster.windows(ready, first=np.maximum(origins, 1), last=np.maximum(origins, 1) + 1)
    if not len(windows):
        return None
    window = windows[[0]]
    with torch.no_grad():
        weights = first.weights(forecaster.preparation.layout.pack(window, ready.series, ready.places))
    values = ready.back(window.values[..., 0], window.series)[0]
    return {
        "id": series.ids[window.series[0]],
        "values": [None if np.isnan(value) else float(value) for value in values],
        "weights": [[round(float(weight), 5) for weight in row] for row in weights[0]],
    }


def attention_figure(weighted: Mapping[str, Any]) -> Figure:
    """The look-back's values over the weights that each step of the horizon gave them."""
    weights = np.array(weighted["weights"])
    horizon, back = weights.shape
    values = np.array([np.nan if value is None else value for value in weighted["values"][:back]], float)[None]
    panels = [
        Panel("the values that were read", values),
        Panel("attention of each step", weights, f"the last {back} steps", f"{horizon} steps ahead", 0.0),
    ]
    note = f"Newest forecast of {weighted['id']}: bright where the weight is high."
    return Figure("Attention", panel_chart([panels], label="attention over the look-back"), note)
