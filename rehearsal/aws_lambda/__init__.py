"""Lambda: each function in separate processes, forked from one that has loaded boto3."""
