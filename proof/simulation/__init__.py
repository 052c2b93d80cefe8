"""The simulation: the definitions and the Lambdas themselves, driven through random runs, outages and accidents in a world with a clock of its own."""
