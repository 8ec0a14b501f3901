from tests.cli.conftest import Outcome, Shell

TIERED = """\
machine:
  nodes:
    0: {cpus: "0", memory: 64MiB}
    1: {memory: 64MiB, adistance: 2880}
    2: {memory: 64MiB, adistance: 2900}
"""


def test_one_tier_has_no_targets(shell: Shell) -> None:
    assert shell("tiers") == Outcome(
        0,
        "NODE TIER         ADISTANCE TOP PREFERRED FALLBACK\n"
        "   0 memory_tier4       576 yes -         -\n"
        "   1 memory_tier4       576 yes -         -\n",
    )


def test_json(shell: Shell) -> None:
    shell.boot(TIERED)
    shown = shell.json("tiers --json")
    assert shown["tiers"] == {"memory_tier4": "0", "memory_tier22": "1-2"}
    assert shown["nodes"]["0"] == {
        "tier": "memory_tier4",
        "adistance": 576,
        "is_top": True,
        "preferred": "1-2",
        "fallback": "1-2",
    }
    assert shown["demotion_enabled"] is False
    assert "files" not in shown
    assert shell.json("tiers --sysfs --json")["files"] == {
        "/sys/devices/virtual/memory_tiering/memory_tier4/nodelist": "0\n",
        "/sys/devices/virtual/memory_tiering/memory_tier22/nodelist": "1-2\n",
    }


def test_hmat_is_wanted_of_all_dram(shell: Shell) -> None:
    hmat = "{read_latency: 80, write_latency: 80, read_bandwidth: 9, write_bandwidth: 9}"
    shell.write(
        "machine.yaml",
        "machine:\n  nodes:\n"
        "    0: {cpus: '0', memory: 64MiB}\n"
        f"    1: {{memory: 64MiB, hmat: {hmat}}}\n"
        f"    2: {{cpus: '1', memory: 0, hmat: {hmat}, adistance: 5}}\n",
    )
    lines = [line.partition("machine.yaml:")[2] for line in shell.err("boot").splitlines()]
    assert lines == [
        "3:8: node 0 has no key 'hmat', but others have; "
        "expected it on every node with CPUs and memory, to compare with",
        "5:31: node 2 has no memory; expected no key 'hmat' there",
        "5:115: node 2 has no memory; expected no key 'adistance' there",
    ]
