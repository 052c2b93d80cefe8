"""The before/after report of a run: measured and judged (findings), said (content), drawn (charts), and set as page, PDF and model card (templates)."""
