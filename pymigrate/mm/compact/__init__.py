"""Compaction: the two scanners, what moves between them, kcompactd, direct compaction."""
