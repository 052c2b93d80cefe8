"""Lambda: each function in processes of its own, forked from one that has loaded boto3."""
