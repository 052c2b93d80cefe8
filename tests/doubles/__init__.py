"""What tests of several parts work with in place of AWS: clients that remember, and sites on which one Lambda is asked to work."""
