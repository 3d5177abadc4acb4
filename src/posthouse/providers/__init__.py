"""Only those providers that a protocol forces into code."""
