"""The recipe of training/ beside the usual one: same model, same text, same machine, one run."""
