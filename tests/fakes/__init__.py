"""Stand-ins for the world outside, scriptable to the byte; see `upstream.py`."""
