"""Floor 4b: from the numbers a model gives to the symbols a reader sees."""

from recurra.decoding.sampling import Generation, Sampling, draw, probabilities

__all__ = ["Generation", "Sampling", "draw", "probabilities"]
