# numactl becomes its command: its name, its signals, its end.
gone() { kill -0 "$1" 2>/dev/null && echo there || echo gone; }
until_named() { until [ "$(cat /proc/"$1"/comm)" = "$2" ]; do sleep 0.05; done; }
state() { sed -n 's/^State:.//p' /proc/"$1"/status; }

exec 2> /dev/null  # where the shell says that they were killed
numactl --membind=1 sleep 97 & p=$!
until_named $p sleep
echo "children: $(ps -o pid= --ppid $p | wc -l)"
kill -STOP $p; until [ "$(cut -d' ' -f3 /proc/$p/stat)" = T ]; do sleep 0.05; done
echo "after STOP: $(state $p)"
kill -CONT $p; kill -TERM $p; wait $p; echo "after TERM: $? $(gone $p)"
numactl --membind=1 sleep 98 & p=$!
until_named $p sleep
kill -KILL $p; wait $p; echo "after KILL: $? $(gone $p)"
numactl --membind=1 sh -c 'kill -STOP $$; exit 5' & p=$!
until_named $p sh; until [ "$(cut -d' ' -f3 /proc/$p/stat)" = T ]; do sleep 0.05; done
kill -CONT $p; wait $p; echo "after CONT: $? $(gone $p)"
