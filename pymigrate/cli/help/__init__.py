"""What leads a user on: the guides, and what a shell completes."""
