"""What errors say, and the exit codes that they stand for."""

import errno
import pickle

import pytest

from pymigrate.errors import (
    ERRNO,
    STRERROR,
    KernelError,
    PymigrateError,
    ScenarioError,
    ScenarioErrors,
    StoreError,
)


def test_kernel_error_says_what_strerror_says_and_keeps_the_reason() -> None:
    error = KernelError("ENOMEM", "node 1 is full")
    assert str(error) == "Cannot allocate memory"
    assert (error.name, error.why, error.errno) == ("ENOMEM", "node 1 is full", 12)
    assert error.strerror == "Cannot allocate memory"


def test_kernel_error_is_caught_as_the_error_of_a_real_call() -> None:
    with pytest.raises(OSError, match="Operation not permitted") as caught:
        raise KernelError("EPERM", "not the owner")
    assert caught.value.errno == errno.EPERM
    assert isinstance(caught.value, PymigrateError)


def test_kernel_error_goes_to_other_processes() -> None:
    error = pickle.loads(pickle.dumps(KernelError("EBUSY", "it is pinned")))
    assert (type(error), error.name, error.why) == (KernelError, "EBUSY", "it is pinned")
    assert error.__notes__ == ["EBUSY: it is pinned"]


def test_each_errno_has_a_number_and_a_text() -> None:
    assert ERRNO.keys() == STRERROR.keys()
    assert len(set(ERRNO.values())) == len(ERRNO)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(ScenarioError("no such task"), "no such task", id="nowhere"),
        pytest.param(ScenarioError("bad", "a.yaml"), "a.yaml: bad", id="file"),
        pytest.param(ScenarioError("bad", "a.yaml", 3), "a.yaml:3: bad", id="line"),
        pytest.param(ScenarioError("bad", "a.yaml", 3, 7), "a.yaml:3:7: bad", id="column"),
        pytest.param(StoreError("locked"), "locked", id="store"),
        pytest.param(StoreError("locked", "m.db"), "m.db: locked", id="store's file"),
    ],
)
def test_error_begins_with_its_place(error: PymigrateError, text: str) -> None:
    assert str(error) == text


def test_several_mistakes_are_a_line_each() -> None:
    error = ScenarioErrors([ScenarioError("a", "f", 1, 2), ScenarioError("b", "f", 3, 4)])
    assert str(error) == "f:1:2: a\nf:3:4: b"
    assert error.message == "a; b"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PymigrateError("x"), 1),
        (KernelError("EPERM"), 1),
        (ScenarioError("x"), 2),
        (ScenarioErrors([]), 2),
        (StoreError("x"), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_is_the_kinds(error: PymigrateError, code: int) -> None:
    assert error.exit_code == code
