"""What a run may cost at most, from prices, durations and hardware."""
