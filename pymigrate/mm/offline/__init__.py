"""Memory that is taken away: isolated ranges, contiguous allocation, hotplug, soft offline."""
