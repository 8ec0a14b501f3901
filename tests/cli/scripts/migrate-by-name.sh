# The pages of a process, found by its name, leave a node.
for pid in $(pidof alpha); do
    before=$(numastat -p $pid | awk '/^Total/ {print $2}')
    migratepages $pid all 1 || exit 1
    after=$(numastat -p $pid | awk '/^Total/ {print $2}')
    echo "$pid: $before MB before, $after MB after on node 0"
done
migratepages $(pgrep -x beta) 1 0; echo $?
migratepages $(pidof nobody) 1 0; echo $?
migratepages 4000000 0 1; echo $?
numastat -c alpha beta
