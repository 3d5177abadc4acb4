"""Providers as data: one TOML file each, and the loader."""
