"""The exceptions of pymigrate, and the exit codes they stand for."""

# The C library's texts, so that every platform prints what Linux prints.
STRERROR = {
    "EPERM": "Operation not permitted",
    "ENOENT": "No such file or directory",
    "ESRCH": "No such process",
    "EINTR": "Interrupted system call",
    "EIO": "Input/output error",
    "ENXIO": "No such device or address",
    "E2BIG": "Argument list too long",
    "EAGAIN": "Resource temporarily unavailable",
    "ENOMEM": "Cannot allocate memory",
    "EACCES": "Permission denied",
    "EFAULT": "Bad address",
    "EBUSY": "Device or resource busy",
    "EEXIST": "File exists",
    "ENODEV": "No such device",
    "ENOTDIR": "Not a directory",
    "EINVAL": "Invalid argument",
    "ENOSPC": "No space left on device",
    "ERANGE": "Numerical result out of range",
    "ENOSYS": "Function not implemented",
    "EOPNOTSUPP": "Operation not supported",
    "EHWPOISON": "Memory page has hardware error",
}
# Linux's numbers, which move_pages() stores negated in its status array.
ERRNO = {
    "EPERM": 1,
    "ENOENT": 2,
    "ESRCH": 3,
    "EINTR": 4,
    "EIO": 5,
    "ENXIO": 6,
    "E2BIG": 7,
    "EAGAIN": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EFAULT": 14,
    "EBUSY": 16,
    "EEXIST": 17,
    "ENODEV": 19,
    "ENOTDIR": 20,
    "EINVAL": 22,
    "ENOSPC": 28,
    "ERANGE": 34,
    "ENOSYS": 38,
    "EOPNOTSUPP": 95,
    "EHWPOISON": 133,
}


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


class KernelError(PymigrateError):
    """What a failing system call answers: *errno* is the name, *why* the rule that refused.

    It is to a simulated call what OSError is to a real one; a traceback shows *why* as a note.
    """

    exit_code = 1

    def __init__(self, errno: str, why: str = "") -> None:
        super().__init__(STRERROR[errno])
        self.errno, self.why = errno, why
        self.add_note(f"{errno}: {why}" if why else errno)

    @property
    def number(self) -> int:
        """Linux's number of the error."""
        return ERRNO[self.errno]

    @property
    def strerror(self) -> str:
        """The C library's text of the error."""
        return STRERROR[self.errno]
