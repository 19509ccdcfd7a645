"""Sequence labelling: a label for each token."""
