"""What comes later than it was asked for: batches."""
