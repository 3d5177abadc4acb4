"""What callers store: files, uploads in parts, and where their content is kept."""
