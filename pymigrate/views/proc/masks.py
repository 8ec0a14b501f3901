"""Sets of CPUs and nodes as bitmaps in hex, as the kernel prints them."""

from pymigrate.mm.state.machine import Machine
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.units import MAX_NUMNODES

_WORD = 32


def cpumap(machine: Machine, cpus: Cpumask) -> str:
    """A set of CPUs; it is as long as the highest number of the machine's."""
    return format_bitmap(cpus, machine.cpus.bit_length())


def nodemap(nodes: Nodemask) -> str:
    """A set of nodes, with all 1024 bits."""
    return format_bitmap(nodes, MAX_NUMNODES)


def format_bitmap(bits: int, nr: int) -> str:
    """*nr* bits in words of 32, the highest first. Mirrors ``%*pb``.

    >>> format_bitmap(0b11000000, 8), format_bitmap((1 << 40) - 1, 40)
    ('c0', 'ff,ffffffff')
    """
    first = -(-(nr % _WORD or _WORD) // 4)
    words = [f"{int(bits) >> at & 0xFFFFFFFF:08x}" for at in range(0, max(nr, 1), _WORD)][::-1]
    return ",".join([words[0][-first:], *words[1:]])
