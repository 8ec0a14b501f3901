"""Executes the steps that a task makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymigrate.mm.state.machine import find_file
from pymigrate.scenario import call_steps
from pymigrate.scenario.record import Record, done, runs
from pymigrate.syscalls import gup, madvise, mempolicy, migrate, mmap, process
from pymigrate.uapi import MODE_FLAGS, MODE_WORDS, words_of
from pymigrate.units import PAGE_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymigrate.scenario.runner import Runner
    from pymigrate.scenario.spec.step_base import Step


def _mmap(runner: Runner, step: call_steps.MmapStep) -> Record:
    machine = runner.machine
    runner.names.declare(step.task, step.as_)
    task = runner.task(step.task)
    addr = mmap.place_region(machine, task, step.as_, step.length, step.align)
    space = find_file(machine, step.file) if step.file else None
    if step.secretmem:
        space = mmap.memfd_secret(machine, step.length)
    mmap.mmap(
        machine,
        task,
        addr,
        step.length,
        step.prot,
        is_shared=step.shared,
        space=space,
        offset=step.offset,
        populate=step.populate,
        hugetlb=step.hugetlb,
    )
    return done()


def _munmap(runner: Runner, step: call_steps.MunmapStep) -> Record:
    mmap.munmap(runner.machine, runner.task(step.task), *runner.range(step))
    return done()


def _mprotect(runner: Runner, step: call_steps.MprotectStep) -> Record:
    mmap.mprotect(runner.machine, runner.task(step.task), *runner.range(step), step.prot)
    return done()


def _madvise(runner: Runner, step: call_steps.MadviseStep) -> Record:
    task = runner.task(step.task)
    madvise.madvise(runner.machine, task, *runner.range(step), step.advice_number)
    return done()


def _mlock(runner: Runner, step: call_steps.MlockStep) -> Record:
    mmap.mlock(runner.machine, runner.task(step.task), *runner.range(step))
    return done()


def _munlock(runner: Runner, step: call_steps.MunlockStep) -> Record:
    mmap.munlock(runner.machine, runner.task(step.task), *runner.range(step))
    return done()


def _touch(runner: Runner, step: call_steps.TouchStep) -> Record:
    task = runner.task(step.task)
    signal = process.touch(
        runner.machine, task, *runner.range(step), step.write, step.stride, step.seconds or 0
    )
    return {"signal": signal} if signal else {}


def _fork(runner: Runner, step: call_steps.ForkStep) -> Record:
    child = process.fork(runner.machine, runner.task(step.task), step.as_)
    runner.pids[step.as_] = child.pid
    runner.names.fork(step.task, step.as_)
    return done()


def _exit(runner: Runner, step: call_steps.ExitStep) -> Record:
    process.exit_task(runner.machine, runner.task(step.task))
    return done()


def _sched_setaffinity(runner: Runner, step: call_steps.SchedSetaffinityStep) -> Record:
    process.sched_setaffinity(runner.machine, runner.task(step.task), step.cpus)
    return done()


def _set_mempolicy(runner: Runner, step: call_steps.SetMempolicyStep) -> Record:
    task = runner.task(step.task)
    mempolicy.set_mempolicy(runner.machine, task, step.mode_number, step.nodes)
    return done()


def _mbind(runner: Runner, step: call_steps.MbindStep) -> Record:
    mempolicy.mbind(
        runner.machine,
        runner.task(step.task),
        *runner.range(step),
        step.mode_number,
        step.nodes,
        step.flag_bits,
    )
    return done()


def _set_mempolicy_home_node(runner: Runner, step: call_steps.SetMempolicyHomeNodeStep) -> Record:
    task = runner.task(step.task)
    mempolicy.set_mempolicy_home_node(runner.machine, task, *runner.range(step), step.node)
    return done()


def _get_mempolicy(runner: Runner, step: call_steps.GetMempolicyStep) -> Record:
    task = runner.task(step.task)
    addr = 0
    if step.at is not None:
        addr = (runner.region(step.task, step.at).start << PAGE_SHIFT) + step.offset
    answer = mempolicy.get_mempolicy(runner.machine, task, addr, step.flag_bits)
    record = done()
    if answer.node is not None:
        record["node"] = answer.node
    return record | {
        "mode": MODE_WORDS[answer.mode],
        "nodes": str(answer.nodes),
        "mode_flags": words_of(answer.flags, MODE_FLAGS),
    }


def _migrate_pages(runner: Runner, step: call_steps.MigratePagesStep) -> Record:
    caller, target = runner.task(step.task), runner.task(step.target_name)
    return done(migrate.migrate_pages(runner.machine, caller, target, step.from_, step.to))


def _move_pages(runner: Runner, step: call_steps.MovePagesStep) -> Record:
    caller = runner.task(step.task)
    addr, length = runner.range(step)
    if step.pages is not None:
        start = runner.region(step.task, step.at).start
        addrs = [start + page << PAGE_SHIFT for page in step.pages]
    else:
        addrs = list(range(addr, addr + length, step.stride))
    nodes = step.nodes
    if nodes is not None:
        nodes = (nodes,) * len(addrs) if isinstance(nodes, int) else nodes
    migrate.check_flags(caller, step.flag_bits)
    target = runner.task(step.target_name)
    result = migrate.move_pages(runner.machine, caller, target, addrs, nodes, step.flag_bits)
    status = result.status
    if result.ret == -1:
        status = [value for value in status if value is not None]
    return {"ret": result.ret, "errno": result.errno, "status": runs(status)}


def _pin(runner: Runner, step: call_steps.PinStep) -> Record:
    gup.pin(runner.machine, runner.task(step.task), *runner.range(step), step.kind == "long")
    return done()


def _unpin(runner: Runner, step: call_steps.UnpinStep) -> Record:
    gup.unpin(runner.machine, runner.task(step.task), *runner.range(step), step.kind == "long")
    return done()


CALLS: dict[type[Step], Callable[[Runner, Any], Record]] = {  # each takes its own step
    call_steps.MmapStep: _mmap,
    call_steps.MunmapStep: _munmap,
    call_steps.MprotectStep: _mprotect,
    call_steps.MadviseStep: _madvise,
    call_steps.MlockStep: _mlock,
    call_steps.MunlockStep: _munlock,
    call_steps.TouchStep: _touch,
    call_steps.ForkStep: _fork,
    call_steps.ExitStep: _exit,
    call_steps.SchedSetaffinityStep: _sched_setaffinity,
    call_steps.SetMempolicyStep: _set_mempolicy,
    call_steps.MbindStep: _mbind,
    call_steps.SetMempolicyHomeNodeStep: _set_mempolicy_home_node,
    call_steps.GetMempolicyStep: _get_mempolicy,
    call_steps.MigratePagesStep: _migrate_pages,
    call_steps.MovePagesStep: _move_pages,
    call_steps.PinStep: _pin,
    call_steps.UnpinStep: _unpin,
}
