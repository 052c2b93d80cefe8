"""Step Functions: moto's interpreter with what it lacks, the executions in it, and a small interpreter with a clock of its own."""
