"""Where pages lie: runs of page tables, regions, nodes."""
