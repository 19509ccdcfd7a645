"""All time steps at once, for cells that are affine in what they carry: a parallel scan in plain torch."""
