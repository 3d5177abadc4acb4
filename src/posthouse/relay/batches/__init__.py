"""Batches at providers: what goes there, what is set aside for it, what comes back."""
