"""Structural concept graphs: how the parts that were seen stand to each other, and what that counts."""
