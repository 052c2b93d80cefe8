"""What tells a person that something is wrong: the budget and its alarm, the alarms on the runs, the dashboard."""
