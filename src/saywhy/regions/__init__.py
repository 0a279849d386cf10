"""Regions: coherent patches of the picture, the coalition game on them, and what may be said of each."""
