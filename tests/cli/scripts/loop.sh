# The processes of a user, with their memory by node, in a loop.
for pid in $(ps -e -o pid=); do
    numastat -p "$pid" | awk -v pid="$pid" '/^Total/ {print pid, $2, $3}'
done
ps -C alpha -o pid=,comm=
ps -e -o pid,uid,comm
pgrep -l -u 27 .
