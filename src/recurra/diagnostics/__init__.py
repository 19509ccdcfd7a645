"""Floor 4c: what a trained model does inside, as arrays, charts and one report."""

from recurra.diagnostics.flow import gradient_by_distance, gradient_norms
from recurra.diagnostics.spectrum import spectral_radius, spectrum

__all__ = ["gradient_by_distance", "gradient_norms", "spectral_radius", "spectrum"]
