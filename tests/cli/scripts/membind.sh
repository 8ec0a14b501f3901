# A command with memory on one node, and where its memory is while it runs.
numactl --membind=1 sh -c 'numastat -p $$ | grep -e Private -e Total; numactl --show | grep -e policy -e membind'
numactl --membind=1 true && echo done
numactl --membind=7 true 2>/dev/null || echo "refused with $?"
pidof sh || echo "no process is left"
