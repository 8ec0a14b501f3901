"""Simulated time: scans that come due, and the accesses that tasks declare."""
