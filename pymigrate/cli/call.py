"""A command that is a system call: who calls, what is refused, and what a dry run says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from pymigrate import arguments
from pymigrate.cli.common import Options, failure, find_task, print_json, say, shorten, write_text
from pymigrate.cli.helped import option
from pymigrate.errors import KernelError
from pymigrate.interface.noted import Access, Noted
from pymigrate.mm.state.cost import Tally
from pymigrate.mm.state.machine import Machine
from pymigrate.mm.state.scope import Watch
from pymigrate.mm.state.task import Left, Task
from pymigrate.records import field, record
from pymigrate.store.codec import copy_machine
from pymigrate.units import PAGE_SHIFT, sized
from pymigrate.views.told import changes, cost, stack, trace
from pymigrate.views.why import stayed

_PACKAGE = "pymigrate."
PAGES_STAYED = 4  # the exit code with --strict


def watch_of(
    trace: bool, steps: bool, chrome: str | None, times: bool, stack: bool = False
) -> Watch:
    """What is to be noted, for these options, and, if *times*, what takes time."""
    is_traced = trace or steps or chrome or stack
    watch = Watch([] if is_traced else None, steps, Tally() if times else None)
    return watch._replace(stack=_backtrace) if stack else watch


def write_chrome(machine: Machine, path: str, parts: Iterable[trace.Part]) -> None:
    """Write a trace file. Raises click.BadParameter if that cannot be done."""
    import json

    text = json.dumps(trace.chrome(machine, parts), separators=(",", ":"))
    write_text(path, f"{text}\n", "--chrome")


@record
class Call:
    """A call in the making: its machine, and what is to be printed of its answer."""

    machine: Machine
    options: Options
    noted: Noted
    watch: Watch
    caller: Task | None = None  # None: the shell
    answer: dict[str, object] = field(default_factory=dict)  # for --json
    text: str = ""  # for people
    drawn: str = ""  # what becomes of memory

    @property
    def shell(self) -> Task:
        """Who calls: the shell, as the user that --as names."""
        return self.machine.shell_of(self.options.uid)

    @property
    def actor(self) -> trace.Actor:
        """Who is named in a trace."""
        if self.caller:
            return trace.Actor(self.caller.comm, self.caller.pid, self.caller.cpu)
        return trace.Actor(self.noted.name, 0, self.machine.shell_of(0).cpu)

    @property
    def part(self) -> trace.Part:
        """What was traced, of which what is wanted."""
        events = self.watch.events or ()
        if self.options.stack or self.options.wanted:
            events = trace.wanted_of(self.machine, events, self.options.wanted)
        return trace.Part(self.actor, events)


@contextmanager
def system_call(options: Options, name: str) -> Iterator[Call]:
    """Open the machine for one call. A KernelError is reported as `NAME: text`, exit code 1.

    What the refused call did before it was refused is kept, as by the kernel.
    """
    refused: KernelError | None = None
    if options.pictured and not options.dry_run:
        raise click.UsageError("--show goes with --dry-run")
    with options.session(write=True) as machine:
        before = changes.snapshot(machine) if options.dry_run else None
        old = copy_machine(machine) if options.pictured else None
        times = options.json or options.verbose
        watch = watch_of(options.trace, options.steps, options.chrome, times, options.stack)
        watch = watch._replace(dropped={} if options.dry_run else None)
        noted = Noted(machine, name)
        call = Call(machine, options, noted, watch)
        try:
            with noted.noting(watch):
                yield call
        except KernelError as error:
            refused = error
        if options.chrome:
            write_chrome(machine, options.chrome, [call.part])
        changed = changes.diff(before, machine) if before else None
        if old:
            _draw(call, old)
    if refused:
        _report_refusal(call, refused)
    if noted.left is not None and not options.dry_run:
        _report_left(call, noted.left, bool(refused))
    _report_time(call)
    _print_answer(call, refused, changed)
    if refused:
        raise click.exceptions.Exit(1)
    if options.fails_if_left and noted.left:
        raise click.exceptions.Exit(PAGES_STAYED)


def _draw(call: Call, old: Machine) -> None:
    """Draw the memory of tasks as it was, and as it is now."""
    from pymigrate.cli.picture import changed, text_of
    from pymigrate.views.pictures import change

    pids = dict.fromkeys(task.pid for task in (*old.processes, *call.machine.processes))
    stays = dict.fromkeys({row.pid for row in call.noted.left or ()}, call.noted.stays)
    drawn = changed(old, call.machine, [*pids], stays, call.options.json)
    if call.options.json:
        call.answer["drawn"] = change.as_json(drawn)
    else:
        call.drawn += text_of(change.lines(drawn))


def _report_refusal(call: Call, refused: KernelError) -> None:
    why = f": {refused.why}" if refused.why and not call.options.quiet else ""
    click.echo(f"{call.noted.name}: {refused}{why}", err=True)


def _report_left(call: Call, left: list[Left], is_refused: bool) -> None:
    """Say what stayed: in one line, or where and why."""
    if call.options.quiet:
        return
    if left and call.options.verbose:
        for line in stayed.format_rows(left):
            say(line)
    elif left:
        more = "" if call.options.ephemeral else "; `pymigrate explain --last` says more"
        say(stayed.summary(left) + more)
    elif call.options.verbose and not is_refused:
        moved = sized(call.noted.moved)
        say(f"{moved} moved, none stayed" if call.noted.moved else "no page had to move")


def _report_time(call: Call) -> None:
    """Estimate how long it took."""
    if time := cost.taken(call.machine, call.watch.tally):
        call.answer["estimated"] = cost.as_json(time)
        if call.options.verbose:
            say(cost.format_line(time))


def _print_answer(
    call: Call,
    refused: KernelError | None,
    changed: changes.Changes | None,
) -> None:
    """What goes to stdout: the trace, the answer, and what a dry run would change."""
    options, machine = call.options, call.machine
    is_traced = options.trace or (options.steps and not options.chrome)
    if options.json:
        answer: dict[str, object] = failure(refused) if refused else {"ret": 0, "errno": None}
        answer |= call.answer | (changes.as_json(changed) if changed else {})
        wants_all = options.verbose or options.dry_run  # even where the call counts none
        if call.noted.left or (call.noted.left is not None and wants_all):
            answer["stayed"] = stayed.as_json(call.noted.left)
        if call.watch.dropped:
            answer["dropped"] = {str(nid): nr for nid, nr in sorted(call.watch.dropped.items())}
        if options.stack:
            answer["stacks"] = stack.as_json(call.watch.events or ())
        if is_traced:
            answer["trace"] = trace.as_json(machine, call.part)
        print_json(answer)
        return
    text = stack.format_stacks(call.watch.events or ()) if options.stack else ""
    text += trace.format_ftrace(machine, call.part) if is_traced else ""
    wanted = options.wanted
    if wanted and wanted.folio and all(event.pfn is None for event in call.part.events):
        say(f"the trace has no folio {shorten(wanted.folio)}")
    text += call.text
    if changed:
        lines = stayed.format_rows(call.noted.left or (), "would stay")
        for nid, nr in sorted((call.watch.dropped or {}).items()):
            lines.append(f"{sized(nr)} of clean page cache on node {nid} would give way")
        text += "".join(f"{line}\n" for line in lines) + changes.format_diff(changed)
    click.echo(text, nl=False)
    if call.drawn:
        click.echo(call.drawn, nl=False)


def find_range(machine: Machine, task: Task, text: str) -> tuple[int, int | None]:
    """What arguments.find_range() gives. Raises click.BadParameter."""
    try:
        return arguments.find_range(machine, task, text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def meanwhile_option() -> Callable[[Any], Any]:
    """Another task's access in the middle of a call; access_of() reads it."""
    return option(
        "--meanwhile",
        nargs=3,
        metavar="PID ADDR|REGION[+OFFSET] read|write",
        help="Let that process access the page as soon as it is unmapped.",
    )


def access_of(machine: Machine, value: tuple[str, str, str] | None) -> Access | None:
    """The access that --meanwhile asks for. Raises click.BadParameter."""
    if value is None:
        return None
    who, place, way = value
    if way not in ("read", "write"):
        raise click.BadParameter(f"{shorten(way)} is neither read nor write")
    task = find_task(machine, who)
    return Access(task, find_range(machine, task, place)[0] >> PAGE_SHIFT, way == "write")


def _backtrace() -> str:
    """The functions of the package that are running, as `MODULE.NAME`, the innermost first."""
    frame: FrameType | None = sys._getframe(1)  # there is no public way that costs as little
    names = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_PACKAGE):
            names.append(f"{module.removeprefix(_PACKAGE)}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return " ".join(names)
