"""The exceptions of pymigrate, and the exit codes they stand for."""

# Linux's numbers, which move_pages() stores negated in its status array, and the C library's texts,
# so that every platform prints what Linux prints.
_ERRORS = {
    "EPERM": (1, "Operation not permitted"),
    "ENOENT": (2, "No such file or directory"),
    "ESRCH": (3, "No such process"),
    "EINTR": (4, "Interrupted system call"),
    "EIO": (5, "Input/output error"),
    "ENXIO": (6, "No such device or address"),
    "E2BIG": (7, "Argument list too long"),
    "EBADF": (9, "Bad file descriptor"),
    "EAGAIN": (11, "Resource temporarily unavailable"),
    "ENOMEM": (12, "Cannot allocate memory"),
    "EACCES": (13, "Permission denied"),
    "EFAULT": (14, "Bad address"),
    "EFBIG": (27, "File too large"),
    "EBUSY": (16, "Device or resource busy"),
    "EEXIST": (17, "File exists"),
    "ENODEV": (19, "No such device"),
    "ENOTDIR": (20, "Not a directory"),
    "EINVAL": (22, "Invalid argument"),
    "ENOSPC": (28, "No space left on device"),
    "ERANGE": (34, "Numerical result out of range"),
    "ENAMETOOLONG": (36, "File name too long"),
    "ENOSYS": (38, "Function not implemented"),
    "ELOOP": (40, "Too many levels of symbolic links"),
    "EOPNOTSUPP": (95, "Operation not supported"),
    "EHWPOISON": (133, "Memory page has hardware error"),
}
ERRNO = {name: number for name, (number, _) in _ERRORS.items()}
STRERROR = {name: text for name, (_, text) in _ERRORS.items()}


class PymigrateError(Exception):
    """Anything that pymigrate reports to its user in one line."""

    exit_code = 1


class ScenarioError(PymigrateError):
    """The input is wrong: says where (1-based line and column), and what was expected there."""

    exit_code = 2

    def __init__(self, message: str, path: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.path, self.line, self.column = message, path, line, column

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{where}: {self.message}" if where else self.message


class ScenarioErrors(ScenarioError):  # noqa: N818  (the plural of the above)
    """Several mistakes of one scenario file, in the order of the file."""

    def __init__(self, errors: list[ScenarioError]) -> None:
        super().__init__("; ".join(e.message for e in errors))
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(e) for e in self.errors)


class UnmetError(PymigrateError):
    """What a step of a scenario expects is not so."""

    exit_code = 1


class StoreError(PymigrateError):
    """The stored machine cannot be used: missing, locked, damaged, or of another version."""

    exit_code = 3

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message, self.path = message, path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class UnsupportedError(PymigrateError):
    """What is asked for is not simulated (yet): an answer would be wrong."""

    exit_code = 2


class KernelError(PymigrateError, OSError):
    """What a failing system call answers: an OSError as of a real one, and *why* a rule refused.

    `errno` is Linux's number and `name` its name, such as 1 and "EPERM"; `strerror` is the C
    library's text of it. A traceback shows *why* as a note.
    """

    exit_code = 1
    errno: int
    strerror: str

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(ERRNO[name], STRERROR[name])
        self.name, self.why = name, why
        self.add_note(f"{name}: {why}" if why else name)

    def __str__(self) -> str:
        return STRERROR[self.name]

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why)
