"""calls: a layer of the core."""
