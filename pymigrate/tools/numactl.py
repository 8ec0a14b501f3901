"""The program numactl: runs a command with a policy, or shows and sets policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from pymigrate.errors import KernelError
from pymigrate.nodemask import Cpumask, Nodemask
from pymigrate.tools import numactl_shm
from pymigrate.tools.getopt import Parsed, getopt_long, option_table
from pymigrate.tools.nodestring import RefusedError, parse_cpustring, parse_nodestring
from pymigrate.tools.numactl_show import hardware, show
from pymigrate.tools.program import Exit, Output, Policy, StoppedError
from pymigrate.tools.strtoul import memsize, strtoul, to_signed
from pymigrate.tools.system import System
from pymigrate.uapi import BALANCING, MPOL, MPOL_MF_STRICT

VERSION = "2.0.19"
USAGE = """\
usage: numactl [--all | -a] [--balancing | -b]
               [--interleave= | -i <nodes>] [--weighted-interleave= | -w <nodes>]
               [--preferred= | -p <node>] [--preferred-many= | -P <nodes>]
               [--physcpubind= | -C <cpus>] [--cpunodebind= | -N <nodes>]
               [--membind= | -m <nodes>] [--localalloc | -l]
               command args ...
       numactl [--show | -s]
       numactl [--hardware | -H] [--cpu-compress]
       numactl [--version]
       numactl [--length | -L <length>] [--offset | -o <offset>]
               [--shmmode | -M <shmmode>] [--shmid | -I <id>] [--huge | -u]
               --shm | -S <shmkeyfile> or --file | -f <tmpfsfile>
               [--strict | -t] a memory policy
               [--touch | -T] [--dump | -d] [--dump-nodes | -D]

a memory policy is one of --interleave | -i, --weighted-interleave | -w,
                          --preferred | -p, --preferred-many | -P,
                          --membind | -m, --localalloc | -l
<nodes> are numbers and ranges A-B with commas between them, or all;
in place of the last one there may be:
  netdev:DEV               the node that network device DEV is at
  file:PATH                the node of the block device that PATH is on
  ip:HOST                  the node of the network device on the way to HOST
  block:PATH               the node of block device PATH
  pci:[seg:]bus:dev[:func] the node of a PCI device
<cpus> are numbers and ranges A-B with commas between them, or all
! before nodes or cpus means all others,
+ before nodes or cpus counts within the cpuset
--cpubind is an old name of --cpunodebind; see --physcpubind for single cpus
--balancing lets the kernel's NUMA balancing work on a process
that --membind binds, where the kernel can do that
<length> and <offset> are bytes,
or with g, m or k behind them GB, MB or KB
"""

_OPTIONS = option_table("""
    all,a interleave,i: weighted-interleave,w: preferred,p: preferred-many,P: cpubind,c:
    cpunodebind,N: physcpubind,C: membind,m: show,s localalloc,l balancing,b hardware,H shm,S:
    file,f: offset,o: length,L: strict,t shmmode,M: dump,d dump-nodes,D shmid,I: huge,u touch,T
    cpu-compress verify,V version
""")

# Options that must stand before --shm and --file, with what messages call them.
_BEFORE_SHM = {"L": "--length", "o": "--offset", "M": "--shmmode", "u": "--huge", "I": "--shmid"}


def run(argv: Sequence[str], system: System) -> Exit:
    """What the program prints, and how it exits or which command it becomes.

    The policy and the affinity that the options ask for are those of the process from then on.

    Mirrors main(), numactl.c.
    """
    out = Output()
    return out.exit(lambda: _Numactl(system, out).main(getopt_long(argv, _OPTIONS, permute=False)))


class _Numactl:
    """One run of the program."""

    def __init__(self, system: System, out: Output) -> None:
        self.system, self.libnuma = system, system.libnuma
        self.stdout, self.stderr = out.stdout, out.stderr
        self.shm = numactl_shm.SharedMemory(system, out)
        self.policy: int | None = None  # that was set
        self.mask: Nodemask | None = None
        self.last_nodes: str | None = None
        self.shm_option = ""
        self.given: set[str] = set()  # options that are looked at later
        self.has_parsed = self.is_weighted = self.is_bound = False
        self.error: KernelError | None = None

    def main(self, parsed: Parsed) -> tuple[str, ...]:
        """Act on the options in their order; the command that is left to run."""
        for name, value in parsed.options:
            self._act(name, value or "")
        if parsed.error:
            self.stderr.append(f"{parsed.error}\n")
            self._usage()
        if "H" in self.given:
            raise StoppedError(0, hardware(self.system, "cpu-compress" in self.given))
        if self.shm.region:
            if parsed.operands:
                self._usage()
            raise StoppedError(self.shm.status)
        if "t" in self.given:
            self.stderr.append("numactl: warning. Strict flag for process ignored.\n")
        if self.shm_option:
            self._usage_message(f"shm related option {self.shm_option} for process")
        if not parsed.operands:
            self._usage()
        return tuple(parsed.operands)

    def _act(self, name: str, value: str) -> None:
        acts: dict[str, Callable[[str], None]] = {
            "i": self._interleave,
            "w": self._weighted_interleave,
            "p": self._preferred,
            "P": lambda nodes: self._preferred(nodes, MPOL.PREFERRED_MANY),
            "m": self._membind,
            "l": self._localalloc,
            "c": self._cpunodebind,
            "N": self._cpunodebind,
            "C": self._physcpubind,
            "a": self._all,
            "s": self._show,
            "version": self._version,
        }
        if name in acts:
            acts[name](value)
        elif name in ("H", "b", "t", "cpu-compress"):
            if name in ("H", "b"):
                self._check_no_policy()
            self.given.add(name)
        elif name in _BEFORE_SHM:
            self._note_shm_option(name, value)
        else:
            self._act_on_shm(name, value)

    # policies

    def _interleave(self, text: str) -> None:
        mask = self._nodes(text)
        mode = MPOL.WEIGHTED_INTERLEAVE if self.is_weighted else MPOL.INTERLEAVE
        self._note_policy(mode)
        if self.shm.region:
            self._apply(Policy(MPOL.INTERLEAVE, mask), "setting interleave mask")
        else:
            policy = Policy(mode if mask else MPOL.DEFAULT, mask)
            self._apply(policy, "setting interleave mask")

    def _weighted_interleave(self, text: str) -> None:
        self.is_weighted = True
        self._interleave(text)

    def _preferred(self, text: str, mode: int = MPOL.PREFERRED) -> None:
        mask = self._nodes(text)
        if self.shm.region:
            self._prefer_shared(mask)
            return
        if mode == MPOL.PREFERRED and len(mask) != 1:
            self._usage()
        self._note_policy(mode)
        self._apply(Policy(mode, mask), "setting preferred node")

    def _prefer_shared(self, mask: Nodemask) -> None:
        """Of shared memory, only the first node is preferred."""
        first = type(mask).of(mask.first) if mask else mask
        policy = Policy(MPOL.PREFERRED_MANY, first)
        self._note_error(lambda: self._bind_shared(policy), "mbind")
        self._note_policy(MPOL.PREFERRED_MANY)
        self._stop_on_error("setting preferred node")

    def _membind(self, text: str) -> None:
        self._note_policy(MPOL.BIND)
        mask = self._nodes(text)
        is_balancing = "b" in self.given and not self.shm.region
        mode = MPOL.BIND | (BALANCING if is_balancing else 0)
        self._apply(Policy(mode, mask), "setting membind")

    def _localalloc(self, _: str) -> None:
        self._note_policy(MPOL.LOCAL)
        nothing = type(self.libnuma.allowed)()
        self._apply(Policy(MPOL.LOCAL, nothing), "local allocation")

    def _apply(self, policy: Policy, what: str) -> None:
        """Set the policy of the process, or of the shared memory; a refusal is the end."""
        if self.shm.region:
            self._note_error(lambda: self._bind_shared(policy), "mbind")
        else:
            self._note_error(lambda: self.system.set_mempolicy(policy), "set_mempolicy")
        self._stop_on_error(what)

    def _bind_shared(self, policy: Policy) -> None:
        assert self.shm.region
        flags = MPOL_MF_STRICT if "t" in self.given else 0
        self.system.mbind(self.shm.region, policy, flags)

    def _note_policy(self, mode: int) -> None:
        if self.policy is not None:
            self._usage_message("Conflicting policies")
        self.policy = mode

    # CPUs

    def _cpunodebind(self, text: str) -> None:
        self._check_not_shm("-c/--cpubind/--cpunodebind")
        mask = self._nodes(text)
        self.is_bound = True
        cpus = Cpumask()
        for nid in mask & self.libnuma.nodes:
            cpus |= self.system.machine.nodes[nid].cpus
        self._note_error(
            lambda: self.system.sched_setaffinity(cpus), "numa_sched_setaffinity_v2_int() failed"
        )
        self._stop_on_error("sched_setaffinity")

    def _physcpubind(self, text: str) -> None:
        self._check_not_shm("-C/--physcpubind")
        every = Cpumask((1 << int(self.libnuma.cpus).bit_length()) - 1)
        valid = every if "a" in self.given else self.libnuma.allowed_cpus
        try:
            cpus = parse_cpustring(text, valid, len(every))
        except RefusedError as refused:
            self._invalid(text, refused)
        self.has_parsed = self.is_bound = True
        self._note_error(lambda: self.system.sched_setaffinity(cpus), "")
        self._stop_on_error("sched_setaffinity")

    # the other options

    def _all(self, _: str) -> None:
        if self.has_parsed:
            self._usage_message("--all/-a option must be before all cpu/node specifications")
        self.given.add("a")

    def _show(self, _: str) -> None:
        raise StoppedError(0, show(self.system))

    def _version(self, _: str) -> None:
        self._check_no_policy()
        raise StoppedError(0, f"{VERSION}\n")

    def _note_shm_option(self, name: str, value: str) -> None:
        """An option that says what shared memory is to be like."""
        if name != "I":
            option = _BEFORE_SHM[name]
            if self.shm.region:
                self._usage_message(f"{option} must be before shared memory specification")
            self.shm_option = option
        if name == "L":
            self.shm.length = memsize(value)
        elif name == "o":
            self.shm.offset = memsize(value)
        elif name == "u":
            self.shm.is_huge = True
        elif name == "M":
            self.shm.mode = self._number(value, 8)
        else:
            self.shm.number = to_signed(self._number(value, 0), 64)

    def _number(self, text: str, base: int) -> int:
        """The number that an argument is, in base 8 or as C writes it."""
        number, rest = strtoul(text, base)
        if rest or not text:
            self._usage()
        return number

    def _act_on_shm(self, name: str, value: str) -> None:
        if name in "Sf":
            if self.is_bound:
                self._usage_message("cannot do --cpubind on shared memory\n")
            self._check_no_policy()
            (self.shm.attach_segment if name == "S" else self.shm.attach_file)(value)
            return
        if name in "dD":
            option = "--dump" if name == "d" else "--dump-nodes"
            if not self.shm.region:
                self._complain(f"Cannot do {option} without shared memory.\n")
            (self.shm.dump if name == "d" else self.shm.dump_nodes)()
            return
        option = "--touch" if name == "T" else "--verify"
        if not self.shm.region:
            self._usage_message(f"{option} must be after shared memory specification")
        if name == "V" and self.policy is None:
            self._complain("Need a policy first to verify")
        self.shm.touch(option)
        if name == "V":
            if self.mask is None:
                self._complain("Need a mask to verify")
            assert self.policy is not None
            self.shm.verify(Policy(self.policy, self.mask))

    # checks, and ways to end

    def _nodes(self, text: str) -> Nodemask:
        """The nodes of an option's argument, which may be ``same``."""
        shown = text
        if text == "same":
            if self.last_nodes is None:
                self._usage_message("same needs previous node specification")
            text = self.last_nodes
        self.last_nodes = text
        libnuma = self.libnuma
        valid = libnuma.possible if "a" in self.given else libnuma.allowed
        try:
            self.mask = parse_nodestring(text, valid, len(libnuma.nodes))
        except RefusedError as refused:
            self._invalid(shown, refused)
        self.has_parsed = True
        return self.mask

    def _check_no_policy(self) -> None:
        if self.policy is not None:
            self._usage_message("specify policy after --shm/--file")

    def _check_not_shm(self, option: str) -> None:
        if self.shm_option:
            self._usage_message(f"{self.shm_option} shm option is not allowed before {option}")

    def _note_error(self, call: Callable[[], None], name: str) -> None:
        """Make a system call; what it refuses is printed if it has a *name*, and remembered."""
        self.error = None
        try:
            call()
        except KernelError as error:
            self.error = error
            if name:
                self.stderr.append(f"{name}: {error}\n")

    def _stop_on_error(self, what: str) -> None:
        if self.error:
            raise StoppedError(1, stderr=f"{what}: {self.error}\n")

    def _invalid(self, text: str, refused: RefusedError) -> NoReturn:
        self.stderr.append(refused.stderr)
        self.stdout.append(f"<{text}> is invalid\n")
        self._usage()

    def _complain(self, message: str) -> NoReturn:
        raise StoppedError(1, stderr=f"numactl: {message}\n")

    def _usage(self) -> NoReturn:
        raise StoppedError(1, stderr=USAGE)

    def _usage_message(self, message: str) -> NoReturn:
        """A message, then the usage; the newline between them goes to the other stream."""
        raise StoppedError(1, "\n", f"numactl: {message}{USAGE}")
