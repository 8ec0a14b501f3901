"""``pymigrate soft_offline``."""

from __future__ import annotations

import click

from pymigrate.cli.call import find_range, system_call
from pymigrate.cli.common import Options, Parsed, common_options, find_task, shorten
from pymigrate.interface.made import acting_as
from pymigrate.mm.offline.memory_failure import num_poisoned_pages
from pymigrate.syscalls.memory_failure import soft_offline, soft_offline_store
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE


def _physical(text: str) -> int:
    """A physical address, in hex or decimal."""
    try:
        return int(text[:20], 0)
    except ValueError:
        message = f"{shorten(text)} is not an address; expected one such as 0x10000000"
        raise ValueError(message) from None


_ADDRESS = Parsed("address", _physical)


@click.command()
@click.argument("pid", required=False)
@click.argument("place", metavar="ADDR|REGION[+OFFSET[:LENGTH]]", required=False)
@click.option("--address", type=_ADDRESS, help="The page at this physical address instead.")
@common_options(changes=True, calls=True)
def command(options: Options, pid: str | None, place: str | None, address: int | None) -> None:
    """Take a page out of use, as if memory went bad there; prints how much is out of use.

    What it holds moves elsewhere. Without LENGTH it is one page.
    """
    by_task = pid is not None and place is not None
    if by_task == (address is not None) or (pid is None) != (place is None):
        raise click.UsageError("expected PID and a place, or --address")
    with system_call(options, "soft_offline") as call:
        if address is not None:
            soft_offline_store(call.machine, call.shell, address)
        else:
            assert pid is not None
            assert place is not None
            task = call.caller = find_task(call.machine, pid)
            addr, length = find_range(call.machine, task, place)
            if ":" not in place or length is None:
                addr, length = addr & -PAGE_SIZE, 1
            with acting_as(task, options.uid):
                soft_offline(call.machine, task, addr, length)
        kb = num_poisoned_pages(call.machine) << PAGE_SHIFT - 10
        call.answer["hardware_corrupted_kB"] = kb
        call.text = f"HardwareCorrupted: {kb} kB\n"
