# How many pages a program has taken where, as a difference of two tables.
hits() { numastat | awk '/^numa_hit/ {print $2, $3}'; }
numastat | head -n 1
hits
numactl --interleave=0,1 memhog 4m
hits
numactl --physcpubind=2 --preferred=0 memhog -r2 11m
numastat | grep -e hit -e node
NUMASTAT_WIDTH=40 numastat -n | head -n 5
