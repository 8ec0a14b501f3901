"""Reclaim: the order of the LRU lists, kswapd, DAMON's schemes, allocation that needs room."""
