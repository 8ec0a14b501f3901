"""Node strings, as libnuma reads them."""

import pytest

from pymigrate.nodemask import Nodemask
from pymigrate.tools.nodestring import RefusedError, parse_nodestring

# Nodes 0 to 3, of which 2 has no memory.
ALLOWED = Nodemask.of(0, 1, 3)
POSSIBLE = Nodemask.of(0, 1, 2, 3)


def parse(text: str, valid: Nodemask = ALLOWED) -> Nodemask:
    return parse_nodestring(text, valid, configured=4)


def warning_of(text: str) -> str:
    with pytest.raises(RefusedError) as refused:
        parse(text)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("0", "0", id="one node"),
        pytest.param("0,3", "0,3", id="list"),
        pytest.param("3,0,0", "0,3", id="order and duplicates do not matter"),
        pytest.param("0-1", "0-1", id="range"),
        pytest.param("0-3", "0-1,3", id="range skips invalid nodes inside"),
        pytest.param("1-0", "1", id="descending range is its first node"),
        pytest.param("all", "0-1,3", id="all"),
        pytest.param("0,all", "0-1,3", id="all as last item"),
        pytest.param("+0", "0", id="relative"),
        pytest.param("+2", "3", id="relative counts valid nodes only"),
        pytest.param("+1-2", "1,3", id="relative range"),
        pytest.param("+0,2", "0,3", id="relative list"),
        pytest.param("+all", "0-1,3", id="relative all"),
        pytest.param("!1", "0,2-3", id="! includes the memory-less node"),
        pytest.param("!0", "1-3", id="! of the first node"),
        pytest.param("!all", "2", id="! of all"),
        pytest.param("!+0", "1-3", id="! with +"),
        pytest.param("0,+1", "0-1", id="+ inside a list is a sign"),
        pytest.param("-0", "0", id="minus zero"),
        pytest.param(" 1", "1", id="leading blank"),
        pytest.param("0, 1", "0-1", id="blank before an item"),
        pytest.param("0x1", "1", id="hexadecimal"),
        pytest.param("03", "3", id="octal"),
        pytest.param("-18446744073709551615", "1", id="negative wraps at 2**64"),
        pytest.param("4294967297", "1", id="membership is tested on 32 bits"),
        pytest.param("0-4294967296", "0-1,3", id="range across 2**32"),
    ],
)
def test_valid_strings(text: str, nodes: str) -> None:
    assert parse(text) == Nodemask.parse(nodes)


@pytest.mark.parametrize(
    ("text", "valid", "configured", "nodes"),
    [
        pytest.param("2", POSSIBLE, 4, "2", id="--all admits the memory-less node"),
        pytest.param("0-2", POSSIBLE, 4, "0-2", id="--all admits a range that ends there"),
        pytest.param("all", POSSIBLE, 4, "0-3", id="--all with all"),
        pytest.param("!all", Nodemask.of(0, 1), 2, "", id="! of all without memory-less nodes"),
        pytest.param("!1", Nodemask.of(1), 4, "0,2-3", id="! reaches beyond the cpuset"),
        pytest.param("+0", Nodemask.of(1), 4, "1", id="+ is relative to the cpuset"),
        pytest.param("!0", Nodemask.of(0, 1, 3), 3, "1-2", id="! stops at the count of nodes"),
    ],
)
def test_valid_set_and_number_of_nodes(
    text: str, valid: Nodemask, configured: int, nodes: str
) -> None:
    assert parse_nodestring(text, valid, configured) == Nodemask.parse(nodes)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        pytest.param("x", "x", id="letter"),
        pytest.param("a", "a", id="beginning of all"),
        pytest.param("ALL", "ALL", id="upper case"),
        pytest.param("same", "same", id="same is numactl's"),
        pytest.param("foo:bar", "foo:bar", id="unknown prefix"),
        pytest.param("Netdev:eth0", "Netdev:eth0", id="prefix in upper case"),
        pytest.param("netdev", "netdev", id="prefix without colon"),
        pytest.param("all ", "all ", id="all with a blank"),
        pytest.param("allx", "allx", id="all with a letter"),
        pytest.param("all,0", "all,0", id="all not last"),
        pytest.param("0,all,1", "all,1", id="all in the middle"),
        pytest.param(" ", " ", id="blank"),
        pytest.param("!", "", id="! alone"),
        pytest.param("+", "", id="+ alone"),
        pytest.param("+!0", "!0", id="+ before !"),
        pytest.param("0,!1", "!1", id="! in a list"),
        pytest.param(",0", ",0", id="empty item"),
        pytest.param("0,", "", id="empty last item"),
    ],
)
def test_unparseable_item_is_quoted_with_the_rest_of_the_string(text: str, rest: str) -> None:
    assert warning_of(text) == f"unparseable node description `{rest}'\n"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param("9", "node argument 9 is out of range\n", id="no such node"),
        pytest.param("2", "node argument 2 is out of range\n", id="memory-less node"),
        pytest.param("5000", "node argument 5000 is out of range\n", id="beyond the mask"),
        pytest.param("+7", "node argument 1024 is out of range\n", id="no such rank"),
        pytest.param("+-1", "node argument -1 is out of range\n", id="negative rank"),
        pytest.param("-1", "node argument -1 is out of range\n", id="negative"),
        pytest.param(
            "99999999999999999999", "node argument -1 is out of range\n", id="beyond 64 bits"
        ),
        pytest.param("9" * 5000, "node argument -1 is out of range\n", id="5000 digits"),
        pytest.param(
            "18446744073709551615-0", "node argument -1 is out of range\n", id="2**64 - 1"
        ),
        pytest.param("0-9", "node argument 9 out of range\n", id="range's end"),
        pytest.param("0-2", "node argument 2 out of range\n", id="range ends memory-less"),
        pytest.param("+0-9", "node argument 1024 out of range\n", id="relative range's end"),
        pytest.param("0--1", "node argument -1 out of range\n", id="range's end negative"),
        pytest.param("0-", "missing node argument \n", id="no range's end"),
        pytest.param("0-x", "missing node argument x\n", id="range ends in a letter"),
        pytest.param("0-all", "missing node argument all\n", id="range ends in all"),
        pytest.param("1 ", "", id="trailing blank"),
        pytest.param("0 ,1", "", id="blank before a comma"),
        pytest.param("1x", "", id="trailing letter"),
        pytest.param("1e0", "", id="exponent"),
        pytest.param("0:2", "", id="colon"),
        pytest.param("0-1:2", "", id="stride"),
        pytest.param("08", "", id="eight is no octal digit"),
        pytest.param("0x", "", id="hexadecimal without digits"),
    ],
)
def test_refused_strings(text: str, warning: str) -> None:
    assert warning_of(text) == warning


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param("netdev:lo", "Cannot read node mask for net device `lo'", id="netdev"),
        pytest.param("block:x", "Cannot read node mask for block device `x'", id="block"),
        pytest.param("netdev:a/b", "Illegal characters in `a/b' specification", id="slash"),
        pytest.param("block:a.b", "Illegal characters in `a.b' specification", id="dot"),
        pytest.param(
            "netdev:eth0,1", "Cannot read node mask for net device `eth0,1'", id="swallows the rest"
        ),
        pytest.param("file:/nonexist", "Cannot stat file /nonexist", id="file"),
        pytest.param(
            "ip:HOST", "Cannot resolve HOST: Temporary failure in name resolution", id="host"
        ),
        pytest.param("ip:127.0.0.1", "Cannot read node mask for net device `lo'", id="loopback"),
        pytest.param("pci:zz", "Cannot parse PCI device `zz'", id="pci unparsable"),
        pytest.param("pci:7:0.0", "Cannot read node mask for  device `7:0.0'", id="pci unknown"),
    ],
)
def test_refused_device(text: str, warning: str) -> None:
    assert warning_of(text) == warning
