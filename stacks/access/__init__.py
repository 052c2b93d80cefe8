"""Who may do what: the roles, the statements of their policies, and the wildcards among them with their reasons."""
