"""The models that stand in for Llama 2: the weights of the small one, the shape of the large one, and Llama's own vocabulary."""
