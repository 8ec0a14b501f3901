"""From a scenario file to its models, or to all that is wrong with it, each at its place."""

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import ValidationError

from pymigrate.errors import ScenarioError, ScenarioErrors
from pymigrate.mm.state.task import TASK_COMM_LEN
from pymigrate.reading import read_file
from pymigrate.scenario.spec import checks
from pymigrate.scenario.spec.limits import size_mistakes
from pymigrate.scenario.spec.models import (
    CpusetSpec,
    FileSpec,
    MachineSpec,
    RegionSpec,
    Scenario,
    TaskSpec,
)
from pymigrate.scenario.spec.names import name_mistakes
from pymigrate.scenario.spec.runner import Step
from pymigrate.scenario.steps.calls import CallStep
from pymigrate.scenario.steps.every import OPS, step_model, unknown_op
from pymigrate.scenario.text import messages
from pymigrate.scenario.text.fields import Model, listed, shown
from pymigrate.scenario.text.parse import parse
from pymigrate.scenario.text.positions import Document, Mistake, Path

FIRST_PID = 1000
_M = TypeVar("_M", bound=Model)
_Mapping = dict[str | int, object]


def load(path: str | FilePath) -> Scenario:
    """The scenario in file *path*, complete: what the file leaves open has its default.

    Raises ScenarioError if the file cannot be read, ScenarioErrors with every mistake in it.
    """
    try:
        content = read_file(str(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScenarioError(f"cannot be read: {reason}; expected a file", str(path)) from None
    return load_bytes(content, str(path))


def load_bytes(content: bytes, path: str) -> Scenario:
    """The scenario in *content*, which was read from *path*.

    Raises ScenarioError if it is not UTF-8, ScenarioErrors with every mistake in it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(errors="replace")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ScenarioError("not UTF-8; expected UTF-8 text", path, *place) from None
    return load_text(text, path)


def load_text(text: str, path: str = "<string>") -> Scenario:
    """The scenario that *text* describes; *path* is what mistakes in it are reported under.

    Raises ScenarioErrors.
    """
    try:
        document = parse(text, path)
    except ScenarioError as error:
        raise ScenarioErrors([error]) from None
    reader = _Reader(document)
    scenario = reader.read()
    known = {(error.line, error.column) for error in document.errors}
    errors = document.errors + [
        ScenarioError(mistake.message, path, *place)
        for mistake, place in reader.places()
        if place not in known
    ]
    if errors or scenario is None:
        raise ScenarioErrors(sorted(errors, key=lambda error: (error.line, error.column)))
    return scenario


class _Reader:
    """Makes models of a document's data part by part: a bad part does not hide what others say."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.mistakes: list[Mistake] = []

    def read(self) -> Scenario | None:
        """The scenario; None if mistakes leave nothing to build it from."""
        data = self.document.data
        if not isinstance(data, dict):
            self.mistakes.append(Mistake((), messages.expected_mapping(data)))
            return None
        machine = self._model(MachineSpec, data.get("machine"), ("machine",), "machine" in data)
        cpusets = self._models(CpusetSpec, data, "cpusets")
        files = self._models(FileSpec, data, "files")
        tasks = self._models(TaskSpec, data, "tasks")
        steps = self._steps(data)
        self.mistakes += name_mistakes(data)
        tasks = self._shared(tasks)
        if "files" not in data:
            files = _files_of(tasks)
        if machine is not None:
            self.mistakes += checks.machine_mistakes(machine)
            self.mistakes += checks.task_mistakes(machine, tasks)
            self.mistakes += checks.cpuset_mistakes(machine, cpusets, tasks)
            self.mistakes += checks.memory_mistakes(machine, files, tasks)
            self.mistakes += size_mistakes(machine, tasks)
            tasks = _complete(machine, tasks)
        mapped = {
            (step.given("task"), step.given("as"))
            for step in steps
            if isinstance(step, CallStep) and step.op == "mmap"
        }
        self.mistakes += checks.access_mistakes(tasks, mapped)
        self.mistakes += checks.file_mistakes(files)
        parts: _Mapping = {
            "machine": machine,
            "cpusets": cpusets,
            "files": files,
            "tasks": tasks,
            "steps": tuple(steps),
        }
        return self._scenario(data, parts)

    def places(self) -> Iterator[tuple[Mistake, tuple[int, int]]]:
        """Each mistake with its line and column."""
        for mistake in self.mistakes:
            yield mistake, self.document.position(mistake.path, mistake.at_key)

    def _model(self, model: type[_M], value: object, path: Path, there: bool = True) -> _M | None:
        """*value*, which is at *path* if it is *there* at all, as a *model*."""
        if not there:
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self.mistakes += messages.mistakes(error, model, path)
            return None

    def _models(self, model: type[_M], data: _Mapping, key: str) -> dict[str, _M]:
        """The mapping of names to *model*s at *key*, without those that are wrong."""
        values = data.get(key, {})
        if not isinstance(values, dict):
            self.mistakes.append(Mistake((key,), messages.expected_mapping(values)))
            return {}
        made = {name: self._model(model, value, (key, name)) for name, value in values.items()}
        return {name: value for name, value in made.items() if value is not None}

    def _steps(self, data: _Mapping) -> list[Step]:
        values = data.get("steps", ())
        if not isinstance(values, tuple):
            message = f"wrong value {shown(values)}; expected a list of steps"
            self.mistakes.append(Mistake(("steps",), message))
            return []
        steps: list[Step] = []
        for number, value in enumerate(values):
            step = self._step(value, ("steps", number))
            if step is not None:
                steps.append(step)
            if isinstance(step, CallStep):
                self.mistakes += step.mistakes(("steps", number))
        return steps

    def _step(self, value: object, path: Path) -> Step | None:
        if not isinstance(value, dict):
            self.mistakes.append(Mistake(path, messages.expected_mapping(value)))
            return None
        op = value.get("op")
        if isinstance(op, str) and op in OPS:
            return self._model(step_model(op), value, path)
        missing = f"missing key 'op'; expected {listed(OPS)}"
        message = unknown_op(op) if "op" in value else missing
        self.mistakes.append(Mistake((*path, "op"), message))
        return None

    def _shared(self, tasks: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
        """*tasks*, the regions that share another's memory completed with what it says."""
        seen: dict[str, RegionSpec] = {}
        done: dict[str, TaskSpec] = {}
        for name, task in tasks.items():
            memory: list[RegionSpec] = []
            for number, region in enumerate(task.memory):
                path: Path = ("tasks", name, "memory", number)
                origin = seen.get(region.shared) if region.shared else None
                if origin is not None:
                    self.mistakes += checks.sharing_mistakes(region, origin, path)
                    region = _like(region, origin)
                elif region.shared and self._is_known(region.shared, tasks):
                    self.mistakes.append(checks.unknown_origin(region.shared, seen, path))
                memory.append(region)
                seen.setdefault(f"{name}.{region.as_}", region)
            done[name] = task.model_copy(update={"memory": tuple(memory)})
        return done

    def _is_known(self, shared: str, tasks: dict[str, TaskSpec]) -> bool:
        """Whether the task of TASK.REGION *shared* is not just absent because it is wrong."""
        task = shared.partition(".")[0]
        return task in tasks or self.document.position(("tasks", task)) == self.document.position(
            ("tasks",)
        )

    def _scenario(self, data: _Mapping, parts: _Mapping) -> Scenario | None:
        """The scenario of *parts*, which are right, and of what else *data* holds."""
        whole: _Mapping = {**data, **parts}
        if "machine" not in data:
            del whole["machine"]
        elif parts["machine"] is None:
            whole["machine"] = MachineSpec.model_construct(nodes={})
        if isinstance(data.get("kernel"), float):  # YAML reads 6.12 so, and 6.10 as 6.1
            whole["kernel"] = self.document.text(("kernel",))
        return self._model(Scenario, whole, ())


def _like(region: RegionSpec, origin: RegionSpec) -> RegionSpec:
    """*region* with what *origin* says where it says nothing itself."""
    keys = ("kind", "size", "file", "offset", "map")
    taken = (origin.model_fields_set - region.model_fields_set) & set(keys)
    return region.model_copy(update={key: getattr(origin, key) for key in taken})


def _files_of(tasks: dict[str, TaskSpec]) -> dict[str, FileSpec]:
    """The files of a scenario that lists none: each as long as the declared memory needs it."""
    sizes: dict[tuple[str, str], int] = {}
    for region in (region for task in tasks.values() for region in task.memory):
        if region.file is not None:
            key = region.file, "hugetlbfs" if region.kind == "hugetlb" else "ext4"
            sizes[key] = max(sizes.get(key, 0), region.offset + region.size)
    return {
        name: FileSpec.model_validate({"size": size, "fs": fs})
        for (name, fs), size in sizes.items()
    }


def _complete(machine: MachineSpec, tasks: dict[str, TaskSpec]) -> dict[str, TaskSpec]:
    """*tasks* with the defaults that depend on the rest of the scenario."""
    pids = _free_pids({task.pid for task in tasks.values()})
    return {name: _complete_task(name, task, machine, pids) for name, task in tasks.items()}


def _complete_task(
    name: str, task: TaskSpec, machine: MachineSpec, pids: Iterator[int]
) -> TaskSpec:
    memory = tuple(
        region
        if region.prot
        else region.model_copy(update={"prot": "r" if region.kind == "file" else "rw"})
        for region in task.memory
    )
    update: dict[str, object] = {
        "pid": task.pid or next(pids),
        "comm": task.comm or str(name)[: TASK_COMM_LEN - 1],
        "cpus": task.cpus or machine.cpus,
        "memory": memory,
    }
    return task.model_copy(update=update)


def _free_pids(taken: set[int]) -> Iterator[int]:
    pid = FIRST_PID
    while True:
        if pid not in taken:
            yield pid
        pid += 1
