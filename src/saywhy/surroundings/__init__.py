"""Surroundings: does the answer depend on what lies around the object? Four other backgrounds say so."""
