"""Implements the ports of the layers below: the database and its repositories."""
