"""Cases under the name that the how-to pages use; the reader is in the data room."""

from recurra.data.series.cases import cases_of, read_cases

__all__ = ["cases_of", "read_cases"]
