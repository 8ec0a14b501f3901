"""The core: Linux's memory management, without I/O, clock, or global state."""
