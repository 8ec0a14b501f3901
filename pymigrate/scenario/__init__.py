"""The scenario file: its models, its loader with positions, and the runner of its steps."""
