# A memhog that goes on is seen by others, and prints as it goes.
numactl --interleave=all memhog -r1000000 1MB > memhog.log & p=$!
: >> memhog.log
until [ "$(cat /proc/$p/comm)" = memhog ] && [ -s memhog.log ]; do sleep 0.05; done
for _ in 1 2; do
    numastat -p $p | sed -n '/^Total/p'
    before=$(wc -c < memhog.log)
    until [ "$(wc -c < memhog.log)" -gt "$before" ]; do sleep 0.05; done
    echo goes on
done
exec 2> /dev/null  # where the shell says that it was killed
kill -KILL $p; wait $p; echo $?
