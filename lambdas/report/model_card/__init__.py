"""MODEL_CARD.md of the adapter."""
