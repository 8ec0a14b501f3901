"""numactl's programs on the simulated machine: what they find there, and the memory they map."""
