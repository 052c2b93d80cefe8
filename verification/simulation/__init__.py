"""One simulated account with a clock of its own: both state machines, every Lambda handler, and each service that they call.

Everything random comes from one seed, so a seed replays any month. The table of failures, random months, outages and
control experiments all run here; `python -m verification.simulation --help` lists what can be run and replayed.
"""
