"""Booted machines on disk."""
