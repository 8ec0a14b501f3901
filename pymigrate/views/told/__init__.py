"""What a call did: counters, traces, times, where balancing and compaction led."""
