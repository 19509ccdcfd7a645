"""Task: the class of a whole series (UCR/UEA archive and the like)."""
