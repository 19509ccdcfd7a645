"""Anomalies in a stream: scores as it comes, by what a small recurrent model expected."""
