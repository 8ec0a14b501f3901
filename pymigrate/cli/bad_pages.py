"""What the commands have in common that take pages out of use."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range, system_call
from pymigrate.cli.common import Options, Parsed, find_task, shorten
from pymigrate.interface.noted import acting_as
from pymigrate.mm.offline.memory_failure import num_poisoned_kb
from pymigrate.syscalls.memory_failure import Offline
from pymigrate.units import PAGE_SIZE


def _physical(text: str) -> int:
    """A physical address, in hex or decimal."""
    try:
        return int(text[:20], 0)
    except ValueError:
        message = f"{shorten(text)} is not an address; expected one such as 0x10000000"
        raise ValueError(message) from None


ADDRESS = Parsed("address", _physical)


def offline(
    options: Options,
    name: str,
    how: Offline,
    pid: str | None,
    place: str | None,
    address: int | None,
) -> None:
    """Make the call *name*, for a place of process *pid* or for an address."""
    by_task = pid is not None and place is not None
    if by_task == (address is not None) or (pid is None) != (place is None):
        raise click.UsageError("expected PID and a place, or --address")
    with system_call(options, name) as call:
        if address is not None:
            how.store(call.machine, call.shell, address)
        else:
            assert pid is not None
            assert place is not None
            task = call.caller = find_task(call.machine, pid)
            addr, length = find_range(call.machine, task, place)
            if ":" not in place or length is None:
                addr, length = addr & -PAGE_SIZE, 1
            with acting_as(task, options.uid):
                how.of_task(call.machine, task, addr, length)
        kb = num_poisoned_kb(call.machine)
        call.answer["hardware_corrupted_kB"] = kb
        call.text = f"HardwareCorrupted: {kb} kB\n"
