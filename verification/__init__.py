"""What proves: the simulation of the cap, the experiments behind the verdict, and conformance with parts that are not ours."""
