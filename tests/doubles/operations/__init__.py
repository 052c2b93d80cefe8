"""For the tests of the owner's commands: an account with the stacks in it, and what is asked of it."""
