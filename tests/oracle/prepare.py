"""`make oracle`: kernels and the guest's programs from Debian's packages, and the agent.

Nothing is installed: the packages are downloaded into the cache folder and unpacked there. The
newest kernel of each series is taken that the mirror of this machine has.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.oracle import needs
from tests.oracle.kernels import folder

GUEST = Path(__file__).with_name("guest")
SUITES = ("bookworm", "trixie", "sid")
KERNELS = {
    "6.1": r"linux-image-6\.1\.[0-9-]+-amd64",
    "6.12": r"linux-image-6\.12\.[0-9]+\+deb13-amd64",
    "7.2": r"linux-binary-7\.2\.[0-9]+\+deb14-amd64",
}
PROGRAMS = ("numactl/trixie", "libnuma1/trixie", "libc6/trixie", "libgcc-s1/trixie")
NUMACTL = ("numactl", "migratepages", "numastat", "memhog", "migspeed")
LIBRARIES = ("libnuma.so.1", "libc.so.6", "libm.so.6")
LOADER = "ld-linux-x86-64.so.2"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MIRROR = re.compile(r"^(?:URIs: *|deb +(?:\[[^]]*\] +)?)(\S+)", re.M)
_DEFAULT_MIRROR = "http://deb.debian.org/debian"


def prepare() -> None:
    """Fill the cache folder. Raises MissingError."""
    needs.check(needs.TO_PREPARE)
    top = folder()
    apt = _Apt(top / "apt")
    apt.run("apt-get", "update", "-qq")
    packages = {series: apt.newest(name) for series, name in KERNELS.items()}
    wanted = [*packages.values(), *(_modules(name) for name in packages.values()), *PROGRAMS]
    debs = top / "debs"
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir(parents=True)
    apt.run("apt-get", "download", "-qq", *dict.fromkeys(wanted), cwd=debs)
    index = {series: _unpack(top, debs, series, name) for series, name in packages.items()}
    _base(top, debs)
    _agent(top)
    (top / "kernels.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


class _Apt:
    """apt with lists of its own, so that the machine's are left alone."""

    def __init__(self, home: Path) -> None:
        for part in ("lists/partial", "cache/archives/partial"):
            (home / part).mkdir(parents=True, exist_ok=True)
        lines = [f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n" for suite in SUITES]
        (home / "sources.list").write_text("".join(lines), encoding="utf-8")
        self.options = [
            f"-oDir::Etc::sourcelist={home}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={home}/lists",
            f"-oDir::Cache={home}/cache",
        ]

    def run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        """What one of apt's programs prints. Raises MissingError."""
        command = [program, *self.options, *words]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise needs.MissingError(f"{program} {words[0]}: {last}")
        return done.stdout

    def newest(self, pattern: str) -> str:
        """The newest package whose name matches. Raises MissingError."""
        found = self.run("apt-cache", "search", "--names-only", f"^{pattern}$")
        names = [line.split()[0] for line in found.splitlines()]
        if not names:
            raise needs.MissingError(f"the mirror {_mirror()} has no package {pattern}")
        return max(names, key=_version)


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _modules(package: str) -> str:
    """The package with the modules of a kernel's; since 7.x it is another one than the image's."""
    return package.replace("linux-binary", "linux-modules")


def _mirror() -> str:
    """The mirror that this machine takes its packages from."""
    for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if Path(path).exists():
            match = _MIRROR.search(Path(path).read_text(encoding="utf-8"))
            if match:
                return match[1]
    return _DEFAULT_MIRROR


def _unpack(top: Path, debs: Path, series: str, package: str) -> dict[str, str]:
    """Unpack a kernel; where its image and its modules are, from the folder."""
    into = top / f"kernel-{series}"
    shutil.rmtree(into, ignore_errors=True)
    names = dict.fromkeys((package, _modules(package)))
    _extract([deb for name in names for deb in debs.glob(f"{name}_*.deb")], into)
    images = sorted(into.rglob("vmlinuz*"))
    modules = sorted(path for path in into.rglob("lib/modules/*") if path.is_dir())
    return {"image": str(images[0].relative_to(top)), "modules": str(modules[0].relative_to(top))}


def _extract(debs: Iterable[Path], into: Path) -> None:
    for deb in debs:
        subprocess.run([needs.program("dpkg"), "-x", str(deb), str(into)], check=True)


def _base(top: Path, debs: Path) -> None:
    """The guest's programs: busybox, numactl's and their libraries."""
    unpacked, base = top / "programs", top / "base"
    for path in (unpacked, base):
        shutil.rmtree(path, ignore_errors=True)
    names = [name.partition("/")[0] for name in PROGRAMS]
    _extract([deb for name in names for deb in debs.glob(f"{name}_*.deb")], unpacked)
    for part in ("bin", "lib64", "lib/x86_64-linux-gnu"):
        (base / part).mkdir(parents=True)
    shutil.copy2(needs.program("busybox"), base / "bin/busybox")
    for name in NUMACTL:
        shutil.copy2(unpacked / "usr/bin" / name, base / "bin" / name)
    for name in LIBRARIES:
        shutil.copy2(next(unpacked.rglob(name)).resolve(), base / "lib/x86_64-linux-gnu" / name)
    shutil.copy2(next(unpacked.rglob(LOADER)).resolve(), base / "lib64" / LOADER)


def _agent(top: Path) -> None:
    sources = sorted(str(path) for path in GUEST.glob("*.c"))
    command = [needs.program("gcc"), "-O2", "-static", "-o", str(top / "agent"), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise needs.MissingError(f"gcc cannot make the guest's agent: {done.stderr[-300:]!r}")
