# A file of a tmpfs with a policy for each half.
numactl --length=4m --file /dev/shm/halves --membind=0
numactl --length=2m --offset=2m --file /dev/shm/halves --membind=1
numactl --length=4m --file /dev/shm/halves --dump --dump-nodes
numactl --length=4m --shm segment --interleave=all --touch --dump
numactl --shm segment --verify; echo $?
