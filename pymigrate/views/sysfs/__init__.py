"""The files of /sys, to the column."""
