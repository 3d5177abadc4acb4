"""The ledger behind billing's ports, in SQLite and in PostgreSQL."""
