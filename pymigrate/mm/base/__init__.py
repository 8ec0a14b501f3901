"""Values that know no machine: runs, entries, frames, flags, counters' names, kernel versions."""
