"""Side-by-side figures: what a call costs here, and what it costs elsewhere."""
