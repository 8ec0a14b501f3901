"""compact: a layer of the core."""
