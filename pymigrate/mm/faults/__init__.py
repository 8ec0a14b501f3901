"""faults: a layer of the core."""
