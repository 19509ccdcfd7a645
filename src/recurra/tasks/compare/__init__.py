"""Cells side by side on one task, as in Greff et al. 2017: equal sizes, several seeds, a search for each rate."""

from recurra.tasks.compare.run import Comparison, compare
from recurra.tasks.compare.settings import CompareSettings
from recurra.tasks.compare.table import Row, table

__all__ = ["CompareSettings", "Comparison", "Row", "compare", "table"]
