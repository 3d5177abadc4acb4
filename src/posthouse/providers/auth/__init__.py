"""Signed requests: one module per scheme, found by its name.

A scheme's module offers `make`, of the type `base.Make`.
"""
