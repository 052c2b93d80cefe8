"""Records in place of running text: questions with their answers, read, checked, and held out by group."""
