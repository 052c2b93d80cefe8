"""The texts of a run: corpus, held-out and outside text, read and checked."""
