"""Floor 3: the yardsticks that are no networks. A recurrent model that loses to one of these has learned nothing."""
