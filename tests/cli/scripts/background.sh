# A server in the background, rebalanced by its PID while it runs.
rm -f go
numactl --interleave=all sh -c 'echo up; until [ -e go ]; do sleep 0.05; done; exit 4' > log &
server=$!
until [ -s log ]; do sleep 0.05; done
numastat -p $server | awk '/^Private/ {print "before:", $2, $3}'
migratepages $server 0 1
numastat -p $server | awk '/^Private/ {print "after:", $2, $3}'
ps -o comm= -p $server
[ "$(pidof sh)" = $server ] && echo "pidof knows it"
touch go
wait $server
echo "it ended with $?"
numastat -p $server 2>&1 | tail -n 1 | sed "s/$server/PID/"
