"""NUMA balancing: scans, hint faults, placement, promotion."""
