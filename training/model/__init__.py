"""The model on its device: which folder holds it, what fits the card, how it is loaded, and the loss of its words."""
