"""Cells side by side on one task, as Greff et al. 2017 did: equal sizes, several seeds, a search for each one's rate."""

from recurra.tasks.compare.run import Comparison, compare
from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.table import Row, table

__all__ = ["CompareSettings", "Comparison", "Row", "compare", "table"]
