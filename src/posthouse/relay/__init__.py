"""The use cases of the data plane, and the one attempt loop beneath them."""
