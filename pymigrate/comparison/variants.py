"""The variants of a scenario: what is changed in it, and all combinations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import yaml  # noqa: TID253 - no other command imports this module

from pymigrate.errors import ScenarioError
from pymigrate.records import NamedTuple
from pymigrate.scenario.text.dump import dump


class Change(NamedTuple):
    """One key of the scenario, and the text of its value, as YAML."""

    path: tuple[str, ...]
    value: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}={self.value}"


class Variant(NamedTuple):
    """What is changed in a scenario; nothing: the scenario as it is."""

    changes: tuple[Change, ...] = ()
    scenario: str = ""  # which of several
    plan: str = ""  # which of several that are looked at behind the steps

    @property
    def name(self) -> str:
        """The scenario, the changes and the plan in one line, which tells variants apart."""
        plan = f"plan {self.plan}" if self.plan else ""
        return " ".join(filter(None, [self.scenario, *map(str, self.changes), plan])) or "as it is"


def setting(text: str) -> Change:
    """The change that `KEY.KEY=VALUE` asks for. Raises ValueError.

    >>> setting("machine.numa_balancing=1")
    Change(path=('machine', 'numa_balancing'), value='1')
    """
    path, equals, value = text.partition("=")
    keys = tuple(path.split("."))
    if not equals or not all(keys):
        raise ValueError(f"{text!r} sets nothing; expected KEY.KEY=VALUE")
    return Change(keys, value)


def policy(text: str) -> Change:
    """The change that `TASK=POLICY` asks for. Raises ValueError.

    >>> str(policy("db=bind=static:0-1"))
    'tasks.db.mempolicy=bind=static:0-1'
    """
    task, equals, value = text.partition("=")
    if not (task and equals and value):
        raise ValueError(f"{text!r} gives no task a policy; expected TASK=POLICY")
    return Change(("tasks", task, "mempolicy"), value)


def changes_of(
    policies: Iterable[str], kernels: Iterable[str], settings: Iterable[str]
) -> list[Change]:
    """What is varied: `TASK=POLICY`, releases of the kernel, `KEY.KEY=VALUE`. Raises ValueError."""
    kernel = (setting(f"kernel={name}") for name in kernels)
    return [*map(policy, policies), *kernel, *map(setting, settings)]


def sweep(
    changes: Sequence[Change], scenario: str = "", plans: Sequence[str] = ()
) -> list[Variant]:
    """All combinations: changes of one key are its values, in the order in which they come."""
    values: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        known = values.setdefault(change.path, [])
        if change not in known:
            known.append(change)
    chosen = [*product(*values.values())]
    return [Variant(each, scenario, plan) for each in chosen for plan in plans or ("",)]


def shard(variants: Sequence[Variant], text: str) -> list[Variant]:
    """The part `NUMBER/COUNT`, from 1 on, of parts that have all of *variants* between them.

    Raises ValueError for what is no such part.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"there is no shard {text!r}; expected 1/N to N/N")
    return list(variants[int(number) - 1 :: int(count)])


def placed(text: str, variants: Sequence[Variant]) -> list[str]:
    """The tasks that variants give a policy, and that have memory whose place the scenario says."""
    tasks = yaml.safe_load(text).get("tasks") or {}
    changed = {change.path[1] for each in variants for change in each.changes if _is_policy(change)}
    return [
        str(name)
        for name, task in tasks.items()
        if str(name) in changed
        and any("pages" in region or "policy" in region for region in task.get("memory") or ())
    ]


def _is_policy(change: Change) -> bool:
    return len(change.path) == 3 and change.path[0] == "tasks" and change.path[2] == "mempolicy"


def applied(text: str, variant: Variant) -> str:
    """The text of the scenario with what *variant* changes.

    Raises ScenarioError if a key stands below something that is no mapping, or for a task that
    the scenario does not have.
    """
    if not variant.changes:
        return text
    data = yaml.safe_load(text)
    for change in variant.changes:
        _set(data, change)
    return dump(data)


def _set(data: object, change: Change) -> None:
    *way, last = change.path
    place = data
    for key in way:
        if isinstance(place, dict):
            if change.path[0] == "tasks" and place is not data and _key(place, key) not in place:
                raise ScenarioError(f"{change}: there is no task {key!r}")
            place = place.setdefault(_key(place, key), {})
    if not isinstance(place, dict):
        raise ScenarioError(f"{change}: {'.'.join(way)} is no mapping")
    place[_key(place, last)] = _value(change)


def _value(change: Change) -> object:
    """Text stays text where the scenario's language has text: a kernel, a policy."""
    if change.path[-1] in ("kernel", "mempolicy"):
        return change.value
    try:
        return yaml.safe_load(change.value)
    except yaml.YAMLError:
        raise ScenarioError(f"{change}: the value is no YAML") from None


def _key(place: Mapping[object, object], key: str) -> object:
    """*key* as the mapping has it: nodes are numbers."""
    return next((known for known in place if str(known) == key), key)
