"""Declared memory of the hugetlb pools."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pymigrate.errors import KernelError, ScenarioError
from pymigrate.mm.faults.memory import access
from pymigrate.mm.spaces.anon_pages import Fault
from pymigrate.mm.state.address_space import AddressSpace
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.policy import Mempolicy
from pymigrate.mm.state.task import Task
from pymigrate.mm.state.vma import Vma
from pymigrate.nodemask import Nodemask
from pymigrate.scenario.spec.models import RandomPages, RegionSpec
from pymigrate.syscalls.mmap import mmap
from pymigrate.uapi import MPOL
from pymigrate.units import HPAGE_PMD_NR, PAGE_SHIFT


def map_hugetlb(
    machine: Machine,
    task: Task,
    spec: RegionSpec,
    start: int,
    space: AddressSpace | None,
    pgoff: int,
) -> Vma:
    """Map *spec* at page *start*. Raises ScenarioError if the pools have not enough."""
    try:
        return mmap(
            machine,
            task,
            start << PAGE_SHIFT,
            spec.size,
            spec.prot,
            is_shared=spec.is_shared,
            space=space,
            offset=pgoff << PAGE_SHIFT,
            hugetlb=True,
        )
    except KernelError as error:
        where = f"task {task.name}, region {spec.as_}"
        raise ScenarioError(f"{where}: {error.why}") from None


def fill_hugetlb(machine: Machine, task: Task, vma: Vma, spec: RegionSpec, start: int) -> None:
    """Fault the declared huge pages in, each on its node. Raises ScenarioError."""
    policy = vma.policy
    for i, nid in _nodes(spec):
        if nid is not None:
            nodes = Nodemask.of(nid)
            vma.policy = Mempolicy(MPOL.BIND, 0, nodes, nodes)
        page = start + i * HPAGE_PMD_NR
        try:
            access(machine, task, page, page + 1, write=spec.is_dirty)
        except Fault:
            where = f"task {task.name}, region {spec.as_}"
            message = f"{where}: no pool has a huge page left for page {i}"
            raise ScenarioError(message) from None
    vma.policy = policy


def _nodes(spec: RegionSpec) -> Iterator[tuple[int, int | None]]:
    """Each huge page that is there with its node; None: where a fault puts it."""
    if isinstance(spec.pages, RandomPages):
        draws = Random(spec.pages.seed).choices(list(spec.pages.random), k=spec.nr_pages)
        yield from enumerate(draws)
        return
    if spec.pages is None:
        for i in range(spec.nr_pages):
            yield i, None
        return
    at = 0
    for nr, nid in spec.pages:
        if nid >= 0:
            for i in range(at, at + nr):
                yield i, nid
        at += nr
