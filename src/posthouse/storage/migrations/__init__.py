"""The schema's history, for Alembic; applied by `posthouse.storage.migrate`."""
