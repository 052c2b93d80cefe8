"""What a person chooses and what follows from it: settings, models, images, and what a deployment fixes for its runs."""
