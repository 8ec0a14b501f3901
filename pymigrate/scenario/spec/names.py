"""Which tasks, regions, files and cpusets a scenario's steps may name, and where."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from pymigrate.interface.declare import CPUSET, DRIVER, FILE, MAX_PAGES, TARGET
from pymigrate.interface.table import CALLS
from pymigrate.scenario.text.fields import listed, nearest, shown
from pymigrate.scenario.text.positions import Mistake, Path
from pymigrate.units import PAGE_SHIFT, PAGE_SIZE, pages_of, parse_size

_PID_OF = re.compile(r"\$([A-Za-z_][A-Za-z0-9_-]*)")


RegionKey = tuple[str, str]  # the task that declared or mapped it first, and the name it gave


class RegionNames:
    """What a step's `at` names: TASK.REGION; or the task's own region (or its parent's, if that
    had it at the fork); or else the one region of that name, whichever task's it is.
    """

    def __init__(self) -> None:
        self._own: dict[RegionKey, RegionKey] = {}
        self._processes: dict[str, str] = {}  # whose thread a task is

    @classmethod
    def of(
        cls,
        regions: Iterable[tuple[str, str]],
        parents: Mapping[str, str],
        processes: Mapping[str, str],
    ) -> "RegionNames":
        """The names on a machine with those *regions* (task and name), and tasks by fork.

        *processes* has the process of each task that is a thread of another.
        """
        names = cls()
        names._processes |= processes
        for task, name in regions:
            names.declare(task, name)
        for child, parent in parents.items():
            for (task, name), key in list(names._own.items()):
                if task == parent:
                    names._own.setdefault((child, name), key)
        return names

    def declare(self, task: str, name: str) -> RegionKey:
        """Give the name *name* to a region of *task*; return the region's key."""
        key = self._processes.get(task, task), name
        self._own[key] = key
        return key

    def clone(self, task: str, thread: str) -> None:
        """Let *thread* and *task* have the same names."""
        self._processes[thread] = self._processes.get(task, task)

    def threads_of(self, process: str) -> list[str]:
        """The other threads that *process* ever had."""
        return [thread for thread, owner in self._processes.items() if owner == process]

    def fork(self, parent: str, child: str) -> None:
        """Let *child* name what *parent* can."""
        parent = self._processes.get(parent, parent)
        for (task, name), key in list(self._own.items()):
            if task == parent:
                self._own[child, name] = key

    def start(self, name: str) -> None:
        """Let the process *name* have no names; one that has exited may have been called so."""
        self._processes.pop(name, None)
        self._own = {key: region for key, region in self._own.items() if key[0] != name}

    def made(self, op: str, maker: object, name: str) -> None:
        """Let the task *name* have its names; the step *op* of the task *maker* has made it."""
        if op == "clone":
            self.clone(str(maker), name)
        elif op == "fork":
            self.fork(str(maker), name)
        else:
            self.start(name)

    def find(self, task: str, at: str) -> RegionKey | None:
        """The one region that *at* names in a step of *task*, or None."""
        found = self.candidates(task, at)
        return found[0] if len(found) == 1 else None

    def candidates(self, task: str, at: str) -> list[RegionKey]:
        """The regions that *at* may name in a step of *task*: none, one, or several others'."""
        owner, dot, name = at.partition(".")
        who = owner if dot else task
        own = self._own.get((self._processes.get(who, who), name if dot else at))
        if own or dot:
            return [own] if own else []
        return list(dict.fromkeys(key for (_, name), key in self._own.items() if name == at))

    def known(self) -> list[str]:
        """All names that `at` may hold."""
        names = dict.fromkeys(name for _, name in self._own)
        return [*names, *(f"{task}.{name}" for task, name in self._own)]


def name_mistakes(data: Mapping[str | int, object]) -> Iterator[Mistake]:
    """Where the steps of *data*, a scenario's plain data, name what does not exist.

    It reads plain data and not the models, so that one bad step does not hide another's mistakes.
    """
    scope = Scope(data)
    steps = data.get("steps")
    for number, step in enumerate(steps if isinstance(steps, tuple) else ()):
        if isinstance(step, dict):
            yield from scope.check(step, ("steps", number))


class Scope:
    """What exists when a step begins."""

    def __init__(self, data: Mapping[str | int, object]) -> None:
        self.regions = RegionNames()
        tasks = _mapping(data.get("tasks"))
        self.files = {str(name) for name in _mapping(data.get("files"))}
        self.tasks = [str(name) for name in tasks]
        self.comms = {str(name): _mapping(spec).get("comm") for name, spec in tasks.items()}
        self.drivers = [str(name) for name in _mapping(data.get("drivers"))]
        self.exited: set[str] = set()
        self.sizes: dict[RegionKey, int] = {}  # bytes, of what is mapped
        self.cpusets = [str(name) for name in _mapping(data.get("cpusets"))]
        for task, spec in tasks.items():
            for region in _regions(spec):
                if isinstance(region.get("as"), str):
                    key = self.regions.declare(str(task), str(region["as"]))
                    self.sizes[key] = _size(region.get("size")) or 0
                if isinstance(region.get("file"), str):
                    self.files.add(str(region["file"]))

    def check(self, step: Mapping[str | int, object], path: Path) -> Iterator[Mistake]:
        """What is wrong with the names in *step*; afterwards what it makes is in scope."""
        op, task = step.get("op"), step.get("task")
        op = op if isinstance(op, str) else ""
        yield from self._check_tasks(step, path)
        yield from self._check_region(step, path, "at")
        other = _mapping(step.get("meanwhile"))
        yield from self._check_tasks(other, (*path, "meanwhile"))
        yield from self._check_region(other, (*path, "meanwhile"), "at")
        named = {DRIVER: self.drivers, FILE: self.files, CPUSET: self.cpusets}
        for argument in CALLS[op].arguments if op in CALLS else ():
            key, kind = argument.name, argument.kind
            if kind is TARGET:
                yield from self._check_region(step, path, key)
            if kind in named:
                yield from _unknown(step.get(key), named[kind], kind.name, (*path, key))
        if op == "exec":
            yield from self._check_argv(step, path)
        if op == "move_pages":
            yield from self._check_page_nodes(step, path)
        if isinstance(task, str):
            self._map(step, task)
        yield from self._make(step, path)
        if op == "cpuset_create" and isinstance(step.get("cpuset"), str):
            self.cpusets.append(str(step["cpuset"]))

    def _check_tasks(self, step: Mapping[str | int, object], path: Path) -> Iterator[Mistake]:
        for key in ("task", "target"):
            value = step.get(key)
            named = [name for name, comm in self.comms.items() if comm == value]
            if value is not None and len(named) > 1 and value not in self.tasks:
                message = f"{shown(value)} is ambiguous, {len(named)} tasks are called so"
                yield Mistake((*path, key), f"{message}; expected {listed(named)}")
                continue
            yield from _unknown(value, self.tasks, "task", (*path, key))
        task = step.get("task")
        if isinstance(task, str) and task in self.exited:
            message = f"task {shown(task)} has exited; expected one that has not"
            yield Mistake((*path, "task"), message)

    def _check_region(
        self, step: Mapping[str | int, object], path: Path, key: str
    ) -> Iterator[Mistake]:
        at, task = step.get(key), step.get("task")
        at = at.partition("+")[0] if isinstance(at, str) and key != "at" else at
        found = self.regions.candidates(str(task), at) if isinstance(at, str) else []
        if len(found) > 1:
            names = listed([".".join(key) for key in found])
            message = f"{shown(at)} is ambiguous, {len(found)} tasks have it; expected {names}"
            yield Mistake((*path, key), message)
        elif not found:
            yield from _unknown(at, self.regions.known(), "region", (*path, key))

    def _check_argv(self, step: Mapping[str | int, object], path: Path) -> Iterator[Mistake]:
        argv = step.get("argv")
        for place, word in enumerate(argv if isinstance(argv, tuple) else ()):
            match = _PID_OF.fullmatch(word) if isinstance(word, str) else None
            if match:
                yield from _unknown(match[1], self.tasks, "task", (*path, "argv", place))

    def _check_page_nodes(self, step: Mapping[str | int, object], path: Path) -> Iterator[Mistake]:
        """Whether so many pages to the end of a region may be, and there is a node for each."""
        nodes, at = step.get("nodes"), str(step.get("at"))
        size = self.sizes.get(self.regions.find(str(step.get("task")), at) or ("", ""))
        offset, stride = (_size(step.get(key, 0)) for key in ("offset", "stride"))
        if not size or None in (offset, stride):
            return
        if step.get("length") is None and step.get("pages") is None:
            count = -(-max(size - (offset or 0), 0) // (stride or PAGE_SIZE))
            if count > MAX_PAGES:
                message = f"{count} pages; expected at most {MAX_PAGES} in one step"
                yield Mistake((*path, "at"), message)
            elif isinstance(nodes, tuple) and count != len(nodes):
                message = f"{len(nodes)} nodes for {count} pages; expected one for each page"
                yield Mistake((*path, "nodes"), message)

    def _map(self, step: Mapping[str | int, object], task: str) -> None:
        op, name = step.get("op"), step.get("as")
        if op in ("mmap", "mremap") and isinstance(name, str):
            size = _size(step.get("length" if op == "mmap" else "size"))
            key = self.regions.declare(task, name)
            if size is not None:
                self.sizes[key] = pages_of(size) << PAGE_SHIFT
        if op == "unlink":
            self.files.discard(str(step.get("file")))
        if op == "exit":
            self.exited |= {task, *self.regions.threads_of(task)}

    def _make(self, step: Mapping[str | int, object], path: Path) -> Iterator[Mistake]:
        op, name = step.get("op"), step.get("as")
        if op in ("fork", "clone", "start") and isinstance(name, str):
            if name in self.tasks and name not in self.exited:
                message = f"there is a task {shown(name)} already; expected another name"
                yield Mistake((*path, "as"), message)
            self.tasks.append(name)
            self.exited.discard(name)
            self.regions.made(str(op), step.get("task"), name)


def _unknown(value: object, valid: Iterable[str], noun: str, path: Path) -> Iterator[Mistake]:
    names = sorted(set(valid))
    if not isinstance(value, str) or value in names:
        return
    expected = listed(names) if 0 < len(names) <= 12 else "one that is declared or made before"
    near = nearest(value, names, noun)
    yield Mistake(path, f"unknown {noun} {shown(value)}; expected {expected}{near}")


def _size(value: object) -> int | None:
    """A number of bytes, where it is one."""
    if isinstance(value, str):
        with suppress(ValueError):
            return parse_size(value)
    return value if isinstance(value, int) else None


def _mapping(value: object) -> Mapping[str | int, object]:
    return value if isinstance(value, dict) else {}


def _regions(task: object) -> list[Mapping[str | int, object]]:
    memory = _mapping(task).get("memory")
    return [item for item in memory if isinstance(item, dict)] if isinstance(memory, tuple) else []
