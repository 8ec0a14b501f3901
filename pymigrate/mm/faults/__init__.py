"""What an access does: anonymous, file, hugetlb, huge and device memory; the page cache."""
