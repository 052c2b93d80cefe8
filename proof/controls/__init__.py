"""Negative controls: one line of defence is taken away at a time, and something has to notice. A check that never failed proves nothing.

python -m proof.controls               all of them, also the `deployed:` ones, which need a deployed account and take the longest
python -m proof.controls --only cap    those whose name contains a word
"""
