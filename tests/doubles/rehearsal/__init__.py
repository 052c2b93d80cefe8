"""For the tests of the rehearsal: its account and its SageMaker with little in them, and a model of a few words."""
