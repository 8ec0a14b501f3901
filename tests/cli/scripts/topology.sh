# What scripts read of numactl --hardware.
nodes=$(numactl --hardware | awk '/^available/ {print $2}')
echo "nodes: $nodes"
numactl -H | grep -c 'node.*size'
numactl -H | grep 'node 0 free' | awk '{print $4}'
for node in $(seq 0 $((nodes - 1))); do
    numactl -H | sed -n "s/^node $node cpus: /$node: /p"
done
numactl --hardware | tail -n 2
numactl --cpunodebind=1 numactl --show | awk '/^physcpubind/ {print $2}'
numactl --show | grep nodebind:
