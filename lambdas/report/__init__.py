"""The before/after report of a run: statistics, verdict, summary, and the pages made from the summary."""
