"""What a run has measured and what follows from it: every figure with its interval, and the verdict."""
