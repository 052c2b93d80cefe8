"""Step Functions: moto's interpreter with what it lacks, and the executions in it."""
