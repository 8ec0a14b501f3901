"""A scenario from a real machine: what /proc and /sys say of its nodes and processes."""
