"""engine: a layer of the core."""
