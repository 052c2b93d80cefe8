"""Invented runs: what the report looks like, without running anything."""
