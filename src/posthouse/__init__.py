"""Posthouse: one key and one base URL for every model of every provider."""

__version__ = "0.1.0"
