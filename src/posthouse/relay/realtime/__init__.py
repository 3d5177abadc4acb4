"""Realtime sessions: opened like calls, relayed, and each answer billed as a call."""
