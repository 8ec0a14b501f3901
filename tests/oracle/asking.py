"""Many cases at once: grouped by machine, a hundred to a boot, two boots at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.oracle import hardware as hw
from tests.oracle.guest import Boot, Guest, GuestError, Line
from tests.oracle.hardware import Hardware
from tests.oracle.program import Case, needs_memcg, program_of

JOBS = 2  # guests at once
BATCH = 100  # cases in a boot
_AGAIN = "#"  # what is behind it in a case's name in the guest tells its runs apart


class Job(NamedTuple):
    """What one boot is to do: the cases' names, in this order."""

    hardware: Hardware
    memcg: bool
    names: tuple[str, ...]


class Run(NamedTuple):
    """One run of a case: the agent's lines, and the release that answered."""

    lines: Sequence[Line]
    release: str
    has_cgroup2: bool


Runs = dict[str, list[Run]]


class Asking:
    """Asks a guest about cases."""

    def __init__(self, guest: Guest, cases: Mapping[str, Case], trace: bool = False) -> None:
        self.guest = guest
        self.cases = cases
        self.trace = trace
        self.hardware = {name: hw.hardware_of(case["machine"]) for name, case in cases.items()}
        self.programs = {name: program_of(case, name) for name, case in cases.items()}
        self.runs: Runs = {name: [] for name in cases}
        self.failed: dict[str, str] = {}

    def once(self) -> Runs:
        """Each case's answer, in one run."""
        self._do([Job(*group, names) for group, names in self._groups()])
        return self.runs

    def thrice(self) -> Runs:
        """Three runs of each case in two boots, in the second also in the opposite order."""
        self._do(
            Job(*group, order)
            for group, names in self._groups()
            for order in (names, names[::-1] + names)
        )
        return self.runs

    def _groups(self) -> Iterator[tuple[tuple[Hardware, bool], tuple[str, ...]]]:
        groups: dict[tuple[Hardware, bool], list[str]] = {}
        for name, case in self.cases.items():
            groups.setdefault((self.hardware[name], needs_memcg(case)), []).append(name)
        for group, names in groups.items():
            for at in range(0, len(names), BATCH):
                yield group, tuple(names[at : at + BATCH])

    def _do(self, jobs: Iterable[Job]) -> None:
        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(self._job, jobs))

    def _job(self, job: Job) -> None:
        """Boot until all of the job's cases have had their turn; one that ends the guest fails."""
        left = list(job.names)
        while left:
            try:
                boot = self._boot(job, left)
            except GuestError as error:
                self.failed |= dict.fromkeys(left, str(error))
                return
            done = self._take(boot, left)
            answered = sum(1 for runs in self.runs.values() if runs)
            self.guest.say(f"answered: {answered} of {len(self.cases)} programs")
            if boot.is_done:
                return
            if done < len(left):
                why = f"the guest ended in it: {_last_words(boot.console)}"
                self.failed[left[done]] = why
            left = [name for name in left[done + 1 :] if name not in self.failed]

    def _boot(self, job: Job, names: Sequence[str]) -> Boot:
        programs = "".join(
            self.programs[name].replace(f"name={name}", f"name={name}{_AGAIN}{at}", 1)
            for at, name in enumerate(names)
        )
        steps = (step for name in names for step in self.cases[name]["steps"])
        longest = max((int(step.get("seconds", 0)) for step in steps), default=0)
        return self.guest.boot(
            job.hardware, programs, memcg=job.memcg, trace=self.trace, longest=longest
        )

    def _take(self, boot: Boot, names: Sequence[str]) -> int:
        """Keep the runs that came to their end; how many there are."""
        done = 0
        lines: list[Line] = []
        cgroup2 = any(line.get("cgroup2") for line in boot.lines)
        for line in boot.lines:
            if "case" in line:
                lines = []
            lines.append(line)
            if "end" in line:
                if line["timed_out"]:
                    self.failed[names[done]] = "it took too long"
                else:
                    self.runs[names[done]].append(Run(lines, boot.release, cgroup2))
                done += 1
        return done


def _last_words(console: str) -> str:
    """What a dying guest says: where the kernel found a bug, else its last line."""
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    bugs = [line for line in lines if "BUG" in line or "panic" in line or "Oops" in line]
    return (bugs or lines[-1:] or ["nothing"])[0][:200]
