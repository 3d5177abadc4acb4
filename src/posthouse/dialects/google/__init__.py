"""What Google's dialects share: names, errors and framings; pure."""
