"""What providers keep for callers: requests about it are relayed as they stand."""
