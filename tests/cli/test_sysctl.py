import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell


def test_all(shell: Shell) -> None:
    assert shell("sysctl") == Outcome(
        0,
        "numa_balancing = 0\n"
        "demotion_enabled = false\n"
        "thp = always madvise [never]\n"
        "nr_hugepages = 0\n"
        "nr_overcommit_hugepages = 0\n"
        "enable_soft_offline = 1\n"
        "ksm/run = 0\n"
        "ksm/merge_across_nodes = 1\n"
        "ksm/max_page_sharing = 256\n"
        "stat_interval = 1\n"
        "zone_reclaim_mode = 0\n"
        "numa_balancing/scan_delay_ms = 1000\n"
        "numa_balancing/scan_period_min_ms = 1000\n"
        "numa_balancing/scan_period_max_ms = 60000\n"
        "numa_balancing/scan_size_mb = 256\n"
        "numa_balancing/hot_threshold_ms = 1000\n"
        "numa_balancing_promote_rate_limit_MBps = 65536\n"
        "thp_defrag = always defer defer+madvise [madvise] never\n"
        "max_ptes_none = 0\n"
        "compact_unevictable_allowed = 1\n"
        "extfrag_threshold = 500\n"
        "compaction_proactiveness = 20\n"
        "weighted_interleave/node0 = 1\n"
        "weighted_interleave/node1 = 1\n",
    )


def test_json(shell: Shell) -> None:
    assert shell.json("sysctl thp") == {"ret": 0, "errno": None, "value": "always madvise [never]"}
    assert shell.json("sysctl drop_caches=1") == {"ret": 0, "errno": None}
    values = shell.json("sysctl")["values"]
    assert "".join(f"{name} = {value}\n" for name, value in values.items()) == shell.out("sysctl")


def test_linux_6_1_has_no_weights(shell: Shell) -> None:
    shell.boot(f'kernel: "6.1"\n{SCENARIO}')
    assert "weighted" not in shell.out("sysctl")
    assert shell("sysctl weighted_interleave/node0=2").stderr.startswith(
        "sysctl: No such file or directory: there is no setting weighted_interleave/node0;"
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("/sys/kernel/mm/numa/demotion_enabled", "1", "true"),
        ("weighted_interleave/node0", "3", "3"),
        ("weighted_interleave/node1", "0", "1"),
        ("thp_defrag", "always", "[always] defer defer+madvise madvise never"),
        ("vm.compact_unevictable_allowed", "0", "0"),
        ("extfrag_threshold", "1000", "1000"),
        ("compaction_proactiveness", "100", "100"),
        ("max_ptes_none", "511", "511"),
    ],
)
def test_a_setting_stays(shell: Shell, name: str, value: str, text: str) -> None:
    assert shell(f"sysctl {name}={value}") == Outcome(0)
    assert shell(f"sysctl {name}") == Outcome(0, f"{text}\n")
