"""What the machines and Lambdas call in the simulated world, as far as they use it."""
