"""clock: a layer of the core."""
