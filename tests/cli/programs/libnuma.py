"""A program of Python with libnuma, by ctypes."""

import ctypes

MPOL_MF_MOVE = 2
numa = ctypes.CDLL("libnuma.so.1", use_errno=True)
numa.numa_alloc_onnode.restype = ctypes.c_void_p
numa.numa_alloc_onnode.argtypes = [ctypes.c_size_t, ctypes.c_int]
print("available", numa.numa_available(), "highest node", numa.numa_max_node())
print("CPUs", numa.numa_num_configured_cpus(), "distance", numa.numa_distance(0, 1))
memory = numa.numa_alloc_onnode(1 << 20, 1)
ctypes.memset(memory, 1, 1 << 20)
node = ctypes.c_int(-1)
numa.get_mempolicy(ctypes.byref(node), None, 0, ctypes.c_void_p(memory), 3)
print("allocated on", node.value)
pages = (ctypes.c_void_p * 3)(memory, memory + 4096, memory + (1 << 40))
nodes = (ctypes.c_int * 3)(0, 1, 0)
status = (ctypes.c_int * 3)(-99, -99, -99)
print("moved", numa.numa_move_pages(0, 3, pages, nodes, status, MPOL_MF_MOVE), list(status))
print("refused", numa.numa_move_pages(0, 1, pages, (ctypes.c_int * 1)(7), status, MPOL_MF_MOVE))
print("errno", ctypes.get_errno())
