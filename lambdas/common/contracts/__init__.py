"""What the states of a run hand to one another, and where they leave it: each form written down once."""
