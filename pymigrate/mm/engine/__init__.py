"""Migration: folio lists and the walk that makes them, batches, passes, one folio or many."""
