"""Floor 1: a cell as its equations. A closed op set, the tracer, axes, derivatives, printing. Does not import torch."""
