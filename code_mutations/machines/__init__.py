"""Mutations of the two state machines: every line of them changed once, and the fast tests asked whether they notice."""
