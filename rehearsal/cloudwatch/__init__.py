"""CloudWatch: the metrics of the rehearsed account, and the alarms on them."""
