"""Negative controls: one line of defence is taken away at a time, and something has to notice. A check that never failed proves nothing.

python -m proof.controls               all of them
python -m proof.controls --only cap    those whose name contains a word
"""
