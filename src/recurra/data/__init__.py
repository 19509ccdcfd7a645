"""Floor 3: what a model reads. Texts, token streams, buckets of ragged sequences, and sets that need no network."""
