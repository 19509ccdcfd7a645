"""Tests of the house itself: floors, files, start-up."""
