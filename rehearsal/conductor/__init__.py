"""The conductor of `captune rehearse`: its command line, its display, what it puts in and what it gets out."""
