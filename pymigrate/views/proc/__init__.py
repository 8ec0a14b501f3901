"""The files of /proc, to the column."""
