"""`captune check`: what can be checked for free before a run, one line each, with its fix.

Works before the first deployment and after it. Everything that is asked is read-only and not charged for.
"""
