"""Task: events in a continuous stream, found while it runs."""
