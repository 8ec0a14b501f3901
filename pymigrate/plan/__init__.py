"""A plan: what calls that move memory would do, whether it fits, how long it takes, who waits."""
