"""Linear autoregression: the yardstick of every network that forecasts. `fit`, `select_order`, forecasts, streams."""

from recurra.classical.autoregression.estimate import burg, fit, yule_walker
from recurra.classical.autoregression.model import Autoregression, AutoregressionState, Forecast
from recurra.classical.autoregression.order import OrderSelection, select_order

__all__ = [
    "Autoregression",
    "AutoregressionState",
    "Forecast",
    "OrderSelection",
    "burg",
    "fit",
    "select_order",
    "yule_walker",
]
