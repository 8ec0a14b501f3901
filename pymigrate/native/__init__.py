"""Real programs on the simulated machine, traced with ptrace: what `pymigrate exec` does."""
