"""spaces: a layer of the core."""
