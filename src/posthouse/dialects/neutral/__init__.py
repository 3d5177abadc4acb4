"""What chat dialects share on their way through the neutral form; pure."""
