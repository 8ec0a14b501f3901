"""state: a layer of the core."""
