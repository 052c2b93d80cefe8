"""`captune check`: what can be checked for free, before and after the first deployment, by questions that change nothing."""
