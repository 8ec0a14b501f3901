"""The tables of address spaces, of processes and of files, and of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymigrate.mm.state.access import AccessPattern
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.mm import Mm
from pymigrate.mm.state.numa import Faults, NumaGroup, NumaMm, NumaTask, NumaVma
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.store.blobs import policy_of, policy_text
from pymigrate.store.table import Table, ints_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymigrate.mm.state.numa import FaultTable
    from pymigrate.mm.state.policy import Mempolicy
    from pymigrate.store.table import Maps, Row


# Address spaces of processes and of files


def _mm_rows(machine: Machine) -> list[Row]:
    return [
        (mm.mm_id, mm.family, *mm.brk, mm.start_stack, text_of(mm.numa))
        for mm in machine.mms.values()
    ]


def _read_mms(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for mm_id, family, brk, brk_end, start_stack, numa in rows:
        table, tables = maps["page_table", mm_id], maps["tables", mm_id]
        brks, resv = (brk, brk_end), maps["resv", mm_id]
        machine.mms[mm_id] = Mm(
            mm_id, family, [], table, tables, resv, brks, start_stack, NumaMm(*ints_of(numa))
        )


def _vma_rows(machine: Machine) -> list[Row]:
    return [
        (
            mm.mm_id,
            vma.start,
            vma.end,
            int(vma.flags),
            vma.pgoff,
            vma.space,
            policy_text(vma.policy),
            vma.anon_vma,
            int(vma.anon_chained),
            int(vma.is_resv_owner),
            text_of(vma.numab or ()),
        )
        for mm in machine.mms.values()
        for vma in mm.vmas
    ]


def _read_vmas(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for mm_id, start, end, flags, pgoff, space, policy, anon_vma, *marks, numab in rows:
        chained, is_resv_owner = map(bool, marks)
        policies = _policy(policy), anon_vma
        vma = Vma(start, end, flags, pgoff, space, *policies, chained, is_resv_owner)
        vma.numab = NumaVma(*ints_of(numab)) if numab else None
        machine.mms[mm_id].vmas.append(vma)


def _space_rows(machine: Machine) -> list[Row]:
    return [
        (space.space_id, space.name, space.fs, space.size, space.inode, *space.readahead)
        for space in machine.spaces.values()
    ]


def _read_spaces(machine: Machine, rows: Iterable[Row], maps: Maps) -> None:
    for space_id, name, fs, size, inode, *readahead in rows:
        pages, policies = maps["pages", space_id], maps["policies", space_id]
        window = (readahead[0], readahead[1], readahead[2])
        machine.spaces[space_id] = AddressSpace(
            space_id, name, fs, size, inode, pages, policies, window, maps["space_resv", space_id]
        )


# Tasks


def _task_rows(machine: Machine) -> list[Row]:
    for task in machine.tasks.values():
        assert machine.mms.get(task.mm.mm_id) is task.mm, f"{task.name} has a strange mm"
    return [
        (
            task.pid,
            task.name,
            task.comm,
            task.uid,
            f"{task.cpus:x}",
            task.mm.mm_id,
            f"{task.mems_allowed:x}",
            policy_text(task.policy),
            task.il_prev,
            task.il_weight,
            task.parent,
            task.cpuset,
            f"{task.user_cpus:x}",
            task.caps,
            int(task.is_dumpable),
            text_of(task.numa),
            _faults_text(task.numa_faults),
        )
        for task in machine.tasks.values()
    ]


def _read_tasks(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for pid, name, comm, uid, cpus, mm_id, mems, policy, *rest in rows:
        il_prev, il_weight, parent, cpuset, user, caps, is_dumpable, numa, faults = rest
        machine.tasks[pid] = Task(
            pid,
            name,
            comm,
            uid,
            Cpumask(cpus, 16),
            machine.mms[mm_id],
            Nodemask(mems, 16),
            _policy(policy),
            il_prev,
            il_weight,
            parent,
            cpuset,
            Cpumask(user, 16),
            caps,
            bool(is_dumpable),
            NumaTask(*ints_of(numa)),
            numa_faults=_faults_of(faults),
        )


def _access_rows(machine: Machine) -> list[Row]:
    return [(task.pid, *access) for task in machine.tasks.values() for access in task.accesses]


def _read_accesses(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for pid, *access in rows:
        machine.tasks[pid].accesses.append(AccessPattern(*access))


def _group_rows(machine: Machine) -> list[Row]:
    return [
        (g.gid, g.nr_tasks, g.active_nodes, g.max_faults_cpu, _faults_text(g.faults), g.leader)
        for g in machine.numa_groups.values()
    ]


def _read_groups(machine: Machine, rows: Iterable[Row], _: Maps) -> None:
    for gid, nr_tasks, active, most, faults, leader in rows:
        group = NumaGroup(gid, nr_tasks, active, most, _faults_of(faults), leader)
        machine.numa_groups[gid] = group


def _faults_text(table: FaultTable) -> str:
    return text_of(number for key, faults in table.items() for number in (*key, *faults))


def _faults_of(text: str) -> FaultTable:
    numbers = ints_of(text)
    width = 2 + len(Faults._fields)
    rows = [numbers[i : i + width] for i in range(0, len(numbers), width)]
    return {(nid, private): Faults(*counts) for nid, private, *counts in rows}


# In the order of reading: a row's owner comes before it.
PROCESS_TABLES = {
    "mm": Table("mm_id family brk brk_end start_stack numa", _mm_rows, _read_mms),
    "vma": Table(
        "mm_id start end flags pgoff space policy anon_vma anon_chained is_resv_owner numab",
        _vma_rows,
        _read_vmas,
    ),
    "space": Table(
        "space_id name fs size inode ra_start ra_size ra_async_size", _space_rows, _read_spaces
    ),
    "task": Table(
        "pid name comm uid cpus mm_id mems_allowed policy il_prev il_weight parent cpuset"
        " user_cpus caps is_dumpable numa numa_faults",
        _task_rows,
        _read_tasks,
    ),
    "access": Table("pid region rate writes hot hot_rate hot_at", _access_rows, _read_accesses),
    "numa_group": Table(
        "gid nr_tasks active_nodes max_faults_cpu faults leader", _group_rows, _read_groups
    ),
}


def _policy(text: str | None) -> Mempolicy | None:
    return None if text is None else policy_of(text)
