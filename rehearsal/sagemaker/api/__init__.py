"""SageMaker's API on the wire, and those of the price list, the quotas and the image registry: what they accept, answer and refuse."""
