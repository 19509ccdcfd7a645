"""Gradients forward in time: what every weight has done to the present state is carried along with the state."""

from recurra.training.online.method import STYLES, OnlineStyle, online
from recurra.training.online.unit import influence

__all__ = ["STYLES", "OnlineStyle", "influence", "online"]
