"""saywhy: explains the decisions of image classifiers, and checks every sentence before it says it."""

__version__ = "0.1.0"
