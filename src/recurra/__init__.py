"""Recurra: recurrent sequence models whose cells are their equations, written once."""
