"""report.html: the page."""
