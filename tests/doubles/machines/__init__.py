"""For the tests of the stacks and the two state machines: the synthesized templates, and the usual account that a machine meets."""
