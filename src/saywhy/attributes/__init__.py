"""Attributes: what each filter of a classifier means, learned from captions, and the decision in words.

Captions become attributes, an adjective and a noun (`phrases`); sums over pictures (`sums`) become p(attribute |
filter) (`posterior`) and what an attribute does to a class (`regressions`).
"""
