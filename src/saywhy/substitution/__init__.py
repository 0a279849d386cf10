"""The part `substitution`: a piece that speaks against a class, exchanged for a good one of another picture."""
