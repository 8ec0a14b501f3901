"""Claims about a machine: `numa_maps(db).heap.N1 >= 90%`. Parsed without eval, and looked up."""
