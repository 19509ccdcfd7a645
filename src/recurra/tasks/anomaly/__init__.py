"""Anomalies: scores as a stream comes, by what was expected of it; thresholds learnt without test data."""
