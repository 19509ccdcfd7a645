"""Floor 4: reservoirs. A large random net that is not trained, and a readout that is solved for."""
