"""What the dialects of OpenAI's family have in common. Not a dialect itself."""
