"""Invented runs: what the report looks like and how much memory it takes, without running anything."""
