import platform
import sys
from types import SimpleNamespace

import pytest

from pymigrate.errors import UnsupportedError
from pymigrate.native import support

WORDS = {
    "/proc/sys/kernel/yama/ptrace_scope": "1",
    "/proc/sys/kernel/seccomp/actions_avail": "kill_process trap errno trace log allow",
    "/proc/self/status": "Name:\tpython\nTracerPid:\t0\n",
}


def named(release: str = "6.1.0-40-amd64", machine: str = "x86_64") -> SimpleNamespace:
    """What uname() tells of a host."""
    return SimpleNamespace(release=release, machine=machine)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A host that can trace."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "maxsize", (1 << 63) - 1)
    monkeypatch.setattr(support.os, "uname", named, raising=False)
    monkeypatch.setattr(support.os.path, "exists", lambda path: path in WORDS)
    monkeypatch.setattr(support.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(support, "_read", lambda path: WORDS.get(path, ""))
    return monkeypatch


def why() -> str:
    with pytest.raises(UnsupportedError) as refused:
        support.check_support()
    text = str(refused.value)
    assert text.startswith("exec cannot trace programs: ")
    assert text.endswith(
        "; `pymigrate exec --shims` runs commands that find numactl's programs alone"
    )
    assert "\n" not in text
    return text.partition(": ")[2].rpartition("; ")[0]


def test_host_that_can(host: pytest.MonkeyPatch) -> None:
    support.check_support()


def test_other_system(host: pytest.MonkeyPatch) -> None:
    host.setattr(sys, "platform", "darwin")
    host.setattr(platform, "system", lambda: "Darwin")
    assert why() == "this is Darwin, not Linux"


def test_other_processor(host: pytest.MonkeyPatch) -> None:
    host.setattr(support.os, "uname", lambda: named(machine="riscv64"))
    assert why() == "the processor is riscv64, neither x86-64 nor arm64"


def test_old_kernel(host: pytest.MonkeyPatch) -> None:
    host.setattr(support.os, "uname", lambda: named("4.19.0-27-amd64"))
    assert why() == "Linux 4.19.0-27-amd64 is older than 5.4"


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        (
            "/proc/sys/kernel/yama/ptrace_scope",
            "2",
            "kernel.yama.ptrace_scope is 2, which allows it to root alone",
        ),
        (
            "/proc/sys/kernel/yama/ptrace_scope",
            "3",
            "kernel.yama.ptrace_scope is 3, which forbids it",
        ),
        (
            "/proc/sys/kernel/seccomp/actions_avail",
            "kill errno allow",
            "the kernel's seccomp filters cannot stop for a tracer",
        ),
        (
            "/proc/self/status",
            "Name:\tpython\nTracerPid:\t77\n",
            "pymigrate is being traced itself, by strace, a debugger, or another exec",
        ),
    ],
)
def test_what_forbids_it(host: pytest.MonkeyPatch, path: str, text: str, reason: str) -> None:
    words = {**WORDS, path: text}
    host.setattr(support, "_read", lambda path: words.get(path, ""))
    assert why() == reason


@pytest.mark.parametrize("scope", ["0", "1", ""])
def test_scopes_that_allow_it(host: pytest.MonkeyPatch, scope: str) -> None:
    words = {**WORDS, "/proc/sys/kernel/yama/ptrace_scope": scope}
    host.setattr(support, "_read", lambda path: words.get(path, ""))
    support.check_support()


def test_root_may_trace_where_others_may_not(host: pytest.MonkeyPatch) -> None:
    words = {**WORDS, "/proc/sys/kernel/yama/ptrace_scope": "2"}
    host.setattr(support, "_read", lambda path: words.get(path, ""))
    host.setattr(support.os, "geteuid", lambda: 0, raising=False)
    support.check_support()


@pytest.mark.parametrize(("release", "is_new"), [("5.3.18-default", False), ("5.4.0-42", True)])
def test_oldest_kernel(host: pytest.MonkeyPatch, release: str, is_new: bool) -> None:
    host.setattr(support.os, "uname", lambda: named(release))
    assert (support.obstacle() == "") is is_new


def test_kernel_without_filters(host: pytest.MonkeyPatch) -> None:
    host.setattr(support.os.path, "exists", lambda path: False)
    assert why() == "the kernel has no seccomp filters"
