"""HTTP plumbing inward: dispatch, key extraction, limits, drain."""
