"""System calls: arguments checked in the kernel's order, then carried out by the core."""
