"""How a run begins: the process that was asked becomes the program, a grandchild traces it.

So the program has the number that a shell knows, its signals, its terminal and its end; the tracer
belongs to another session, and stays until the last traced process has ended.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from pymigrate import holder, session
from pymigrate.errors import PymigrateError, UnsupportedError
from pymigrate.native import libc, seccomp
from pymigrate.native.lender import Lender
from pymigrate.native.report import Options, Report, say
from pymigrate.native.tracer import Tracer
from pymigrate.native.world import World
from pymigrate.session import Request

NOT_FOUND, NOT_EXECUTABLE = 127, 126
_GARBAGE = 20_000  # objects that are made before cycles are looked for
_READY = b"+"


class Refused(PymigrateError):  # noqa: N818  (an answer of the tracer, as the user shall see it)
    """The run cannot begin; *exit_code* is the command's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = code


def run(
    request: Request,
    argv: Sequence[str],
    environ: dict[str, str],
    options: Options,
    folders: Sequence[str],
) -> NoReturn:
    """Become the program *argv*, traced. Raises PymigrateError if that cannot begin.

    *folders* were made for this run, and are removed at its end. The paths of *request* are
    absolute. Exits with 127 or 126 if there is no such program.
    """
    ours, theirs = _pipe(), _pipe()  # from the tracer, to the tracer
    if sys.stdout:  # it is not closed
        sys.stdout.flush()
    middle = os.fork()
    if not middle:
        if not os.fork():
            os.close(ours[0])
            os.close(theirs[1])
            comm = os.path.basename(argv[0])
            hold = partial(_hold, request, options, folders, comm)
            _trace(hold, ours[1], theirs[0], folders)
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(ours[1])
    os.close(theirs[0])
    with open(ours[0], "rb", buffering=0) as answers:
        libc.allow_tracer(int(answers.readline() or b"0"))
        os.write(theirs[1], b"%d\n" % os.getpid())
        answer = answers.readall() or b"3 the tracer has ended"
    os.close(theirs[1])
    if answer != _READY:
        code, _, text = answer.decode("utf-8", "surrogateescape").partition(" ")
        raise Refused(int(code), text)
    _become(argv, environ)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are no standard streams, even if these are closed."""
    low = os.pipe()
    out, into = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in low)
    for fd in low:
        os.close(fd)
    return out, into


def _open_streams() -> None:
    """Let there be standard streams, so that no other file is taken for one."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        continue
    os.close(fd)
    if not sys.stderr:
        sys.stderr = os.fdopen(2, "w")


def _become(argv: Sequence[str], environ: dict[str, str]) -> NoReturn:
    """Execute the program, as a shell would."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    libc.settle()
    try:
        libc.install_filter(seccomp.program())
        os.execvpe(argv[0], list(argv), environ)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without a first line that says of what
            os.execve("/bin/sh", ["sh", *argv], environ)
        say(f"{argv[0]}: {os.strerror(error.errno or 0)}")
        os._exit(NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE)


def _trace(
    hold: Callable[[int, int], None], out: int, into: int, folders: Sequence[str]
) -> NoReturn:
    """Be the tracer: say one's number, take the program's, and answer it until it ends."""
    code = 1
    gc.enable()  # it may run for long, but what it drops are seldom cycles
    gc.set_threshold(_GARBAGE)
    try:
        os.setsid()
        _open_streams()
        os.write(out, b"%d\n" % os.getpid())
        with open(into, "rb", buffering=0) as asks:
            pid = int(asks.readline() or b"0")
        hold(pid, out)
        code = 0
    except PymigrateError as error:
        _refuse(out, error.exit_code, str(error))
    except OSError as error:
        _refuse(out, 2, f"exec cannot trace programs: {error.strerror or error}")
    except Exception:  # noqa: BLE001  (nobody is above to tell of it)
        import traceback

        traceback.print_exc()
    finally:
        _remove(folders)
        os._exit(code)


def _refuse(out: int, code: int, text: str) -> None:
    """Tell why it cannot begin; once it has begun, tell the user."""
    try:
        os.write(out, f"{code} {text}".encode("utf-8", "surrogateescape"))
    except OSError:
        say(text)


def _hold(
    request: Request, options: Options, folders: Sequence[str], comm: str, pid: int, out: int
) -> None:
    """Hold the machine while *pid*, which becomes *comm*, and its descendants run."""
    path = session.state_path(request)
    session.check_free(path)
    tell = (lambda _: None) if request.ephemeral else say
    gone = holder.leftover(path)
    with session.opened(request._replace(write=True, ephemeral=False), tell, gone) as (
        store,
        machine,
    ):
        root = _private_root()
        lender = Lender(path, store, [root, *folders], request.command)
        try:
            if pid in machine.tasks:
                raise UnsupportedError(
                    f"the host gave this process the number {pid}, which is a task of the"
                    " scenario; try again"
                )
            signal.signal(signal.SIGUSR1, lender.called)
            world = World(machine, root, say)
            report = Report(world, pid, options)
            libc.seize(pid)
            world.begin(pid, comm)
            lender.note(world)
            tracer = Tracer(world, report, lambda: lender.between(world, tracer))
            _let_go(out)
            gc.freeze()  # what there is stays
            tracer.run()
            world.drop_objects()
            lender.close(world)
        finally:
            _remove([root])


def _remove(folders: Sequence[str]) -> None:
    """Remove directories with all that they hold."""
    if folders:
        from shutil import rmtree  # programs start faster without it

        for folder in folders:
            rmtree(folder, ignore_errors=True)


def _let_go(out: int) -> None:
    """The program may begin; nothing of it is held open here."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.write(out, _READY)
    os.close(out)


def _private_root() -> str:
    """A directory for private files, in memory if there is one."""
    folder = "/dev/shm"
    if not os.access(folder, os.W_OK):
        from tempfile import gettempdir

        folder = gettempdir()
    root = os.path.join(folder, holder.PRIVATE + os.urandom(8).hex())
    os.mkdir(root)
    os.chmod(root, 0o711)
    return root
