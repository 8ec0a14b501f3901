import pytest

from tests.cli.conftest import SCENARIO, Outcome, Shell, refused

KNOWN = (
    "; expected one of numa_balancing, demotion_enabled, thp, nr_hugepages, drop_caches,"
    " numa_balancing/scan_delay_ms, numa_balancing/scan_period_min_ms,"
    " numa_balancing/scan_period_max_ms, numa_balancing/scan_size_mb,"
    " numa_balancing/hot_threshold_ms, numa_balancing_promote_rate_limit_MBps,"
    " thp_defrag, compact_unevictable_allowed, extfrag_threshold, compaction_proactiveness,"
    " compact_memory, weighted_interleave/nodeN"
)


def test_all(shell: Shell) -> None:
    assert shell("sysctl") == Outcome(
        0,
        "numa_balancing = 0\n"
        "demotion_enabled = false\n"
        "thp = always madvise [never]\n"
        "nr_hugepages = 0\n"
        "numa_balancing/scan_delay_ms = 1000\n"
        "numa_balancing/scan_period_min_ms = 1000\n"
        "numa_balancing/scan_period_max_ms = 60000\n"
        "numa_balancing/scan_size_mb = 256\n"
        "numa_balancing/hot_threshold_ms = 1000\n"
        "numa_balancing_promote_rate_limit_MBps = 65536\n"
        "thp_defrag = always defer defer+madvise [madvise] never\n"
        "compact_unevictable_allowed = 1\n"
        "extfrag_threshold = 500\n"
        "compaction_proactiveness = 20\n"
        "weighted_interleave/node0 = 1\n"
        "weighted_interleave/node1 = 1\n",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numa_balancing", "0"),
        ("kernel.numa_balancing", "0"),
        ("demotion_enabled", "false"),
        ("/sys/kernel/mm/numa/demotion_enabled", "false"),
        ("thp", "always madvise [never]"),
        ("vm.nr_hugepages", "0"),
        (
            "/sys/kernel/mm/transparent_hugepage/defrag",
            "always defer defer+madvise [madvise] never",
        ),
        ("vm.compaction_proactiveness", "20"),
        ("/sys/kernel/mm/mempolicy/weighted_interleave/node1", "1"),
    ],
)
def test_read(shell: Shell, name: str, value: str) -> None:
    assert shell(f"sysctl {name}") == Outcome(0, f"{value}\n")


def test_weight(shell: Shell) -> None:
    assert shell("sysctl weighted_interleave/node0=3") == Outcome(0)
    assert shell("sysctl weighted_interleave/node0") == Outcome(0, "3\n")
    shell.out("set_mempolicy a weighted-interleave:0-1")
    shell.out("task mmap a new 32KiB --populate")
    assert " N0=6 N1=2 " in shell.maps("a")[3]
    assert shell("sysctl weighted_interleave/node0=0") == Outcome(0)
    assert shell("sysctl weighted_interleave/node0") == Outcome(0, "1\n")


def test_drop_caches(shell: Shell) -> None:
    assert shell("sysctl vm.drop_caches=3") == Outcome(0)
    assert shell.counted("drop_pagecache", "drop_slab") == [1, 1]


def test_drop_caches_frees_what_nobody_maps(shell: Shell) -> None:
    shell.out("task munmap a lib")
    assert shell.counted("nr_file_pages") == [20]
    shell.out("sysctl drop_caches=1")
    assert shell.counted("nr_file_pages", "pgfree") == [4, 16]


def test_dry_run_keeps_nothing(shell: Shell) -> None:
    before = shell.state.read_bytes()
    assert shell("sysctl drop_caches=1 --dry-run") == Outcome(0, "drop_pagecache +1\n")
    assert shell.state.read_bytes() == before


def test_json(shell: Shell) -> None:
    assert shell.json("sysctl thp") == {"ret": 0, "errno": None, "value": "always madvise [never]"}
    assert shell.json("sysctl drop_caches=1") == {"ret": 0, "errno": None}
    assert list(shell.json("sysctl")["values"]) == [
        "numa_balancing",
        "demotion_enabled",
        "thp",
        "nr_hugepages",
        "numa_balancing/scan_delay_ms",
        "numa_balancing/scan_period_min_ms",
        "numa_balancing/scan_period_max_ms",
        "numa_balancing/scan_size_mb",
        "numa_balancing/hot_threshold_ms",
        "numa_balancing_promote_rate_limit_MBps",
        "thp_defrag",
        "compact_unevictable_allowed",
        "extfrag_threshold",
        "compaction_proactiveness",
        "weighted_interleave/node0",
        "weighted_interleave/node1",
    ]


def test_linux_6_1_has_no_weights(shell: Shell) -> None:
    shell.boot(f'kernel: "6.1"\n{SCENARIO}')
    assert "weighted" not in shell.out("sysctl")
    assert shell("sysctl weighted_interleave/node0=2").stderr.startswith(
        "sysctl: No such file or directory: there is no setting weighted_interleave/node0;"
    )


@pytest.mark.parametrize(
    ("setting", "errno", "why"),
    [
        ("nothing", "No such file or directory", f"there is no setting nothing{KNOWN}"),
        ("nothing=1", "No such file or directory", f"there is no setting nothing{KNOWN}"),
        (
            "weighted_interleave/node7",
            "No such file or directory",
            f"there is no setting weighted_interleave/node7{KNOWN}",
        ),
        ("drop_caches", "Permission denied", "drop_caches can only be written"),
        ("drop_caches=5", "Invalid argument", "'5' is not a number from 1 to 4"),
        ("drop_caches=", "Invalid argument", "'' is not a number from 1 to 4"),
        ("thp=sometimes", "Invalid argument", "'sometimes' is not a value of thp"),
        (
            "weighted_interleave/node0=256",
            "Invalid argument",
            "'256' is not a number from 0 to 255",
        ),
        ("drop_caches=1 --as 26", "Permission denied", "only root may change settings"),
    ],
)
def test_refusals(shell: Shell, setting: str, errno: str, why: str) -> None:
    assert shell(f"sysctl {setting}") == Outcome(1, "", refused("sysctl", errno, why))
    assert shell(f"sysctl {setting} -v").stderr == refused("sysctl", errno, why, verbose=True)


def test_demotion_is_switched_on(shell: Shell) -> None:
    assert shell("sysctl demotion_enabled=true") == Outcome(0)
    assert shell("sysctl demotion_enabled") == Outcome(0, "true\n")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("thp_defrag", "always", "[always] defer defer+madvise madvise never"),
        ("vm.compact_unevictable_allowed", "0", "0"),
        ("extfrag_threshold", "1000", "1000"),
        ("compaction_proactiveness", "100", "100"),
    ],
)
def test_settings_of_compaction_stay(shell: Shell, name: str, value: str, text: str) -> None:
    assert shell(f"sysctl {name}={value}") == Outcome(0)
    assert shell(f"sysctl {name}") == Outcome(0, f"{text}\n")


@pytest.mark.parametrize(
    "setting",
    ["thp_defrag=sometimes", "compaction_proactiveness=101", "extfrag_threshold=-1"],
)
def test_settings_of_compaction_are_checked(shell: Shell, setting: str) -> None:
    assert shell(f"sysctl {setting}") == Outcome(1, "", "sysctl: Invalid argument\n")
