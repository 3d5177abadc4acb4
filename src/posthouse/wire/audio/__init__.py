"""How long a sound lasts, read from its frames: wholes and streams alike."""
