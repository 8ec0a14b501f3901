"""What system calls do to memory: moves, policies, forks, pins, advice, KSM, cpusets."""
