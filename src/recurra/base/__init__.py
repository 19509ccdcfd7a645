"""Floor 0: names, errors, states, random streams, files and settings. Knows nothing of recurrence."""
