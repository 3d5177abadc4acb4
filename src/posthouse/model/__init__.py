"""The neutral types everything else speaks in. Imports nothing of ours."""
