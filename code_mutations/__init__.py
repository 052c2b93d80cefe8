"""Mutations of the Lambdas' code: small faults, one at a time, that a unit test has to notice."""
