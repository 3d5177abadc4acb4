"""Backups of a running installation, and installations from backups."""
