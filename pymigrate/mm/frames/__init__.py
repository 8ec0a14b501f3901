"""frames: a layer of the core."""
