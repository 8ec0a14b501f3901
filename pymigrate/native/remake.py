"""A process or a thread that the host gives the number of a simulated task is made again.

Nobody else may have that number. It ends before it has run; its maker reaps it, and repeats the
call, which gives it another number. Both happen in the maker's own thread, whose registers are let
say so, and which gets no signal meanwhile.
"""

from __future__ import annotations

import os
from contextlib import suppress

from pymigrate.native import abi, libc
from pymigrate.native.tracee import Thread


def end_at_once(tid: int) -> None:
    """Let *tid*, which has stopped before it runs, exit. Raises ProcessLookupError."""
    _call_again(tid, libc.register(tid, abi.IP), abi.EXIT, 0)


def make_again(maker: Thread, tid: int, is_process: bool) -> None:
    """Let *maker*, once *tid* has ended and its call ends, reap that and repeat the call.

    Raises ProcessLookupError.
    """
    nr = libc.register(maker.tid, abi.CALL)
    arguments = [libc.register(maker.tid, at) for at in abi.ARGUMENTS]
    after = libc.register(maker.tid, abi.IP)
    maker.held = []

    def made(_: int) -> None:
        _call_again(maker.tid, after, abi.WAIT4, tid, 0, abi.WALL, 0)
        maker.at_end = again

    def again(_: int) -> None:
        _call_again(maker.tid, after, nr, *arguments)
        held, maker.held = maker.held, None
        for number in held or ():
            with suppress(ProcessLookupError):
                os.kill(maker.process.pid, number)

    maker.at_end = made if is_process else again  # a thread leaves nothing behind


def _call_again(tid: int, after: int, nr: int, *arguments: int) -> None:
    """Let *tid* go back to the call that ends at *after*, and call *nr* there."""
    for register, value in zip(abi.ARGUMENTS, arguments, strict=False):
        libc.set_register(tid, register, value)
    libc.set_register(tid, abi.NUMBER, nr)
    libc.set_register(tid, abi.IP, after - abi.CALL_LENGTH)
