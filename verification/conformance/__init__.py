"""Contracts checked against the parts that own them: the real model server, the real deploy command, the reference JSONata.

captune dev conformance            every part that this machine can run (make conformance)
"""
