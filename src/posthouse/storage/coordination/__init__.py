"""What processes and nodes share of limits."""
