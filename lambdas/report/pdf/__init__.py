"""report.pdf: the content of the page, set for paper."""
