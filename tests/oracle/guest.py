"""Boots of the guest: programs in, the agent's answers out."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracle import initramfs, needs
from tests.oracle.hardware import (
    Hardware,
    kernel_parameters,
    machine_arguments,
    memory_list,
    wrong_nodes,
)
from tests.oracle.kernels import Kernel, folder, release_of

Line = Mapping[str, Any]  # Any: JSON, of a shape that follows from the agent's step

WINDOW, WINDOW_MIB = 0x8000000, 8  # memory that the kernel is told not to manage
ATTEMPTS = 3  # a boot under emulation hangs now and then
BOOT_SECONDS, SILENT_SECONDS = 300, 300  # of a busy machine
DISK = "256M"
PARAMETERS = """
    console=ttyS0 panic=-1 loglevel=3 nokaslr mitigations=off apparmor=0 audit=0
    transparent_hugepage=never iomem=relaxed
""".split()


class GuestError(Exception):
    """The guest did not do what it was to do."""


class Boot(NamedTuple):
    """What a boot gave: the agent's lines, the kernel's release, and the console."""

    lines: Sequence[Line]
    release: str
    console: str

    @property
    def is_done(self) -> bool:
        """Whether the agent came to its program's end."""
        return any("done" in line for line in self.lines)


class Guest:
    """A kernel with all that its boots have in common."""

    def __init__(self, kernel: Kernel, say: Callable[[str], None] = print) -> None:
        needs.check(needs.TO_RECORD)
        self.kernel = kernel
        self.say = say
        top = folder()
        self._base = initramfs.base(top / "base", kernel.modules, top / "agent")

    def boot(
        self,
        hardware: Hardware,
        program: str,
        *,
        memcg: bool = False,
        trace: bool = False,
        longest: int = 0,
    ) -> Boot:
        """Boot the machine, and let the agent carry out a program.

        *longest*: seconds that a step may take without an answer, more than is usual. Raises
        GuestError where the guest does not come up, or has other nodes than it is to have.
        """
        words = _agent_words(hardware, memcg, trace)
        with tempfile.TemporaryDirectory(prefix="pymigrate-oracle-") as name:
            home = Path(name)
            initrd = self._base + initramfs.of_program(program, words)
            (home / "initrd").write_bytes(initrd)
            make = [needs.program("mke2fs"), "-q", "-t", "ext4", "-F", str(home / "disk"), DISK]
            subprocess.run(make, check=True, capture_output=True)
            for _ in range(ATTEMPTS):
                found = self._attempt(home, hardware, longest)
                if found.lines:
                    break
                self.say("the guest does not come up; once more")
            else:
                raise GuestError(f"the guest does not come up:\n{found.console[-2000:]}")
        wrong = wrong_nodes(hardware, found.console)
        if wrong:
            raise GuestError(f"the guest is not the case's machine: {wrong}")
        return found

    def _attempt(self, home: Path, hardware: Hardware, longest: int) -> Boot:
        output, console = home / "output", home / "console"
        output.write_bytes(b"")
        with console.open("w+b") as file:
            process = subprocess.Popen(
                self._command(home, hardware),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait(process, output, SILENT_SECONDS + longest)
            finally:
                process.kill()
                process.wait()
        text = console.read_text(encoding="utf-8", errors="replace")
        uname = next((line[6:] for line in text.splitlines() if line.startswith("UNAME ")), "")
        return Boot(_lines(output), release_of(uname), text)

    def _command(self, home: Path, hardware: Hardware) -> list[str]:
        window = f"memmap={WINDOW_MIB}M${WINDOW:#x}"
        parameters = [*PARAMETERS, window, *kernel_parameters(hardware)]
        return [
            needs.program("qemu-system-x86_64"),
            *("-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
            *("-kernel", str(self.kernel.image), "-initrd", str(home / "initrd")),
            *("-append", " ".join(parameters)),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"file,id=output,path={home / 'output'}"),
            *("-device", "virtserialport,chardev=output,name=output"),
            *("-drive", f"file={home / 'disk'},if=virtio,format=raw,snapshot=on"),
            *machine_arguments(hardware),
        ]


def _agent_words(hardware: Hardware, memcg: bool, trace: bool) -> str:
    nr = hardware.nr_cpus
    words = {
        "physical": hex(WINDOW),
        "service_node": hardware.service,
        "service_cpu": nr,
        "cpus": f"0-{nr - 1}",
        "mems": memory_list(hardware.memory_nodes),
        "memcg": int(memcg),
        "trace": int(trace),
    }
    return " ".join(f"{key}={value}" for key, value in words.items())


def _wait(process: "subprocess.Popen[bytes]", output: Path, silent: int) -> None:
    """Until the guest ends, or is silent for too long."""
    size, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = output.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > (silent if size else BOOT_SECONDS):
            return


def _lines(output: Path) -> list[Line]:
    """The agent's lines; the last one may be cut off."""
    found = []
    for text in output.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found
