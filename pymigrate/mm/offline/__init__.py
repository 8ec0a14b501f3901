"""offline: a layer of the core."""
