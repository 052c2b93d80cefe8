"""The before/after report of a run: measured and judged (findings), said (content), drawn (charts), and set as html, pdf and model_card."""
