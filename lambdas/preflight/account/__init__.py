"""What the account and AWS have for a run: quotas, images, weights, an earlier adapter, and what other runs hold or have left."""
