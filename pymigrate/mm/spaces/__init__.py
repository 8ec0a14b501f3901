"""Address spaces: reverse mapping, unmapping, huge entries, hugetlb pools, pins, exit."""
