"""Training: the one loop, and one short file for each part that can be trained."""
