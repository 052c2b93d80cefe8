"""Texts, prompts and records that nobody wrote, for tests of what checks them."""
