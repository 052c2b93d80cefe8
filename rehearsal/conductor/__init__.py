"""The conductor of `python -m rehearsal`: its command line, its display, what it puts in and what it gets out."""
