"""Drawings and tables of our own, for people."""
