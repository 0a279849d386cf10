"""A branch of a classifier that speaks: any phrase, where it is in a picture, and what it counts for a class."""
