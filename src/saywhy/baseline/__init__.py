"""Baseline: what the classifier says of nothing, so that no part of a picture is credited with it."""
