"""base: a layer of the core."""
