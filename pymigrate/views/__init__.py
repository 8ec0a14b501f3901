"""What is printed: typed rows made from a machine's state, and their /proc text."""
