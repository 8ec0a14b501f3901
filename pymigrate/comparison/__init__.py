"""One scenario under variants: what is varied, what comes of each, and all of them."""
