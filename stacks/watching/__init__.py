"""What notifies a person: the budget and its alarm, the alarms on the runs, the dashboard."""
