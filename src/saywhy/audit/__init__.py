"""Audits: what goes wrong on a data set, and why."""
