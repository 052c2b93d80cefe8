"""One process for each GPU of each host: where they are, how they are started, and what they say to one another."""
