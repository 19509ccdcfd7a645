"""Measures speed side by side, once the code measured is known to be right. `make bench`."""
