"""Names of regions, learned from regions that a person showed."""
