"""The failure matrix: every Task state of both machines meets every failure, in the real interpreter.

python -m proof.matrix                          all cells and stories, on two processes
python -m proof.matrix --only CreateEndpoint    the cells whose state or failure has this in its name
"""
