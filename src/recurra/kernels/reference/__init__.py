"""Eager torch: any spec, any device, any float dtype. The definition of correct, and the fallback."""
