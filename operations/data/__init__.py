"""`make data` and `make outside`: what the texts hold, how well they are predicted, and text by others to measure on."""
