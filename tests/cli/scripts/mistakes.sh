# What is refused, on which stream and with which status.
numactl --membind=0 nosuchcommand; echo $?
numactl --membind=0 --interleave=1 true 2>/dev/null | od -An -c
numactl --help 2>&1 >/dev/null | head -n 2
numactl --s 2>&1 | head -n 1
numastat --bogus 2>&1 | head -n 1
memhog | head -n 1
migspeed 0 9; echo $?
numactl --membind=0 sh -c 'exit 7'; echo $?
numactl --membind=0 sh -c 'kill -TERM $$'; echo $?
numactl --strict true; echo $?
