"""Floor 6b: the command `recurra`, one file per verb."""
