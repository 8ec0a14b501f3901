"""pymigrate: Linux NUMA page migration, simulated."""

__version__ = "0.1.0"
