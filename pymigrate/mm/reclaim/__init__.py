"""reclaim: a layer of the core."""
