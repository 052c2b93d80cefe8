"""EventBridge and its Scheduler: what AWS delivers by itself, in the form in which it arrives."""
