"""Framing: bytes in, frames out. No I/O, clock or randomness."""
