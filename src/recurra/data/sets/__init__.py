"""Sets that have a name, one file each."""
