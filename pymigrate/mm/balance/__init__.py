"""balance: a layer of the core."""
