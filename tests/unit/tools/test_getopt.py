"""getopt_long() as glibc has it, texts of its complaints and all."""

import pytest

from pymigrate.tools.getopt import Argument, Option, Parsed, getopt_long

# A part of numactl's table, in its order.
NUMACTL = [
    Option("all", "a"),
    Option("interleave", "i", Argument.REQUIRED),
    Option("preferred", "p", Argument.REQUIRED),
    Option("preferred-many", "P", Argument.REQUIRED),
    Option("membind", "m", Argument.REQUIRED),
    Option("show", "s"),
    Option("localalloc", "l"),
    Option("length", "L", Argument.REQUIRED),
    Option("shm", "S", Argument.REQUIRED),
    Option("strict", "t"),
    Option("shmmode", "M", Argument.REQUIRED),
    Option("shmid", "I", Argument.REQUIRED),
    Option("cpu-compress"),
    Option("version"),
]
NUMASTAT = [Option("", "c"), Option("", "m"), Option("", "s", Argument.OPTIONAL)]
MIGSPEED = [Option("", "p", Argument.REQUIRED), Option("", "h"), Option("", "v")]
SAME_OPTION = [Option("cpubind", "c"), Option("cpunodebind", "c"), Option("cpus", "u")]


def parse(words: str, table: list[Option] = NUMACTL, *, permute: bool = True) -> Parsed:
    return getopt_long(["prog", *words.split()], table, permute=permute)


@pytest.mark.parametrize(
    ("words", "options", "operands"),
    [
        pytest.param("", [], [], id="nothing"),
        pytest.param("-m 0", [("m", "0")], [], id="separate argument"),
        pytest.param("-m0", [("m", "0")], [], id="glued argument"),
        pytest.param("-as", [("a", None), ("s", None)], [], id="bundle"),
        pytest.param("-am0", [("a", None), ("m", "0")], [], id="argument ends a bundle"),
        pytest.param("-m -- x", [("m", "--")], ["x"], id="argument that looks like an option"),
        pytest.param("--membind 0", [("m", "0")], [], id="long option, separate argument"),
        pytest.param("--membind=0", [("m", "0")], [], id="long option, = argument"),
        pytest.param("--membind=", [("m", "")], [], id="long option, empty argument"),
        pytest.param("--mem 0", [("m", "0")], [], id="abbreviated"),
        pytest.param("--preferred 1", [("p", "1")], [], id="exact name wins over a longer one"),
        pytest.param("--vers", [("version", None)], [], id="option without a letter"),
        pytest.param("x -a y", [("a", None)], ["x", "y"], id="operands and options mixed"),
        pytest.param("x -- -a", [], ["x", "-a"], id="-- ends the options"),
        pytest.param("- -a", [("a", None)], ["-"], id="a lone dash is an operand"),
    ],
)
def test_options_and_operands_are_told_apart(
    words: str, options: list[tuple[str, str | None]], operands: list[str]
) -> None:
    assert parse(words) == Parsed(options, operands, "")


@pytest.mark.parametrize(
    ("words", "options", "operands"),
    [
        pytest.param("-a x -s", [("a", None)], ["x", "-s"], id="options after an operand"),
        pytest.param("-- x -s", [], ["x", "-s"], id="after --"),
        pytest.param("x -- y", [], ["x", "--", "y"], id="-- after an operand is one"),
    ],
)
def test_without_permutation_the_first_operand_ends_the_options(
    words: str, options: list[tuple[str, str | None]], operands: list[str]
) -> None:
    assert parse(words, permute=False) == Parsed(options, operands, "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param("-x", "prog: invalid option -- 'x'", id="unknown letter"),
        pytest.param("-1", "prog: invalid option -- '1'", id="digit"),
        pytest.param("--bogus", "prog: unrecognized option '--bogus'", id="unknown name"),
        pytest.param("--bogus=1", "prog: unrecognized option '--bogus=1'", id="with an argument"),
        pytest.param("-m", "prog: option requires an argument -- 'm'", id="letter lacks argument"),
        pytest.param(
            "--mem", "prog: option '--membind' requires an argument", id="name lacks argument"
        ),
        pytest.param(
            "--sho=1", "prog: option '--show' doesn't allow an argument", id="needless argument"
        ),
        pytest.param(
            "--s",
            "prog: option '--s' is ambiguous; possibilities:"
            " '--show' '--shm' '--strict' '--shmmode' '--shmid'",
            id="ambiguous among five",
        ),
        pytest.param(
            "--pre=0",
            "prog: option '--pre=0' is ambiguous; possibilities: '--preferred' '--preferred-many'",
            id="ambiguous with an argument",
        ),
        pytest.param(
            "--l",
            "prog: option '--l' is ambiguous; possibilities: '--localalloc' '--length'",
            id="ambiguous among two",
        ),
    ],
)
def test_mistakes_are_worded_as_glibc_words_them(words: str, error: str) -> None:
    assert parse(words) == Parsed([], [], error)


def test_options_before_a_mistake_are_kept() -> None:
    assert parse("-as 0 -tx -l") == Parsed(
        [("a", None), ("s", None), ("t", None)], [], "prog: invalid option -- 'x'"
    )


def test_names_of_one_option_are_not_ambiguous() -> None:
    assert parse("--cpub --cpun", SAME_OPTION).options == [("c", None), ("c", None)]
    assert parse("--c", SAME_OPTION[:2]).options == [("c", None)]


def test_names_of_one_option_are_listed_once() -> None:
    assert parse("--c", SAME_OPTION).error == (
        "prog: option '--c' is ambiguous; possibilities: '--cpubind' '--cpus'"
    )


def test_optional_argument_is_only_taken_glued() -> None:
    assert parse("-cs1 -s 2", NUMASTAT) == Parsed([("c", None), ("s", "1"), ("s", None)], ["2"], "")


def test_optional_argument_of_a_long_option_needs_an_equals_sign() -> None:
    table = [Option("sort", "s", Argument.OPTIONAL)]
    assert parse("--sort 1 --sort=2", table) == Parsed([("s", None), ("s", "2")], ["1"], "")


def test_table_without_long_names_reads_two_dashes_as_a_letter() -> None:
    assert parse("--help", MIGSPEED).error == "prog: invalid option -- '-'"
