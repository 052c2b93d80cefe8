"""The charts of a report, as drawings that page and PDF set in their own way."""
