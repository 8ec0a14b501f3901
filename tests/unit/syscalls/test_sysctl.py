"""Settings of the kernel."""

import pytest

from pymigrate.mm.state.machine import Machine
from pymigrate.syscalls.mmap import munmap
from pymigrate.syscalls.process import touch
from pymigrate.syscalls.sysctl import SETTINGS, Setting, read, read_all, write
from tests.conftest import errno_of, mapped, new_file, new_task, two_nodes

WEIGHT = "weighted_interleave/node1"


@pytest.fixture
def machine() -> Machine:
    return two_nodes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numa_balancing", "0"),
        ("kernel.numa_balancing", "0"),
        ("demotion_enabled", "false"),
        ("/sys/kernel/mm/numa/demotion_enabled", "false"),
        ("thp", "always madvise [never]"),
        ("nr_hugepages", "0"),
        (WEIGHT, "1"),
        (f"/sys/kernel/mm/mempolicy/{WEIGHT}", "1"),
    ],
)
def test_values_at_boot(machine: Machine, name: str, value: str) -> None:
    assert read(machine, name) == value


@pytest.mark.parametrize(
    ("name", "knob", "value"),
    [
        ("numa_balancing/scan_delay_ms", "scan_delay_ms", 1000),
        ("numa_balancing/scan_period_min_ms", "scan_period_min_ms", 1000),
        ("numa_balancing/scan_period_max_ms", "scan_period_max_ms", 60000),
        ("/sys/kernel/debug/sched/numa_balancing/scan_size_mb", "scan_size_mb", 256),
        ("numa_balancing/hot_threshold_ms", "hot_threshold_ms", 1000),
        ("kernel.numa_balancing_promote_rate_limit_MBps", "promote_rate_limit_mbps", 65536),
    ],
)
def test_settings_of_balancing(machine: Machine, name: str, knob: str, value: int) -> None:
    assert read(machine, name) == str(value)
    write(machine, machine.shell_of(0), name, str(value // 2))
    assert getattr(machine.numa_knobs, knob) == value // 2


def test_tiering_starts_its_count_of_candidates_when_it_is_switched_on(machine: Machine) -> None:
    machine.now = 500
    write(machine, machine.shell_of(0), "numa_balancing", "2")
    assert machine.nodes[0].promotion.threshold_start == 500
    machine.now = 900
    write(machine, machine.shell_of(0), "numa_balancing", "3")
    assert (machine.numa_balancing, machine.nodes[0].promotion.threshold_start) == (3, 500)


@pytest.mark.parametrize(
    ("name", "errno"),
    [
        ("drop_caches", "EACCES"),
        ("vm.compact_memory", "EACCES"),
        ("swappiness", "ENOENT"),
        ("weighted_interleave/node7", "ENOENT"),
    ],
)
def test_what_cannot_be_read(machine: Machine, name: str, errno: str) -> None:
    assert errno_of(read, machine, name) == errno


@pytest.mark.parametrize(
    ("value", "weight"), [("3", "3"), ("255", "255"), ("1", "1"), ("0", "1"), ("", "1")]
)
def test_weights(machine: Machine, value: str, weight: str) -> None:
    write(machine, machine.shell_of(0), WEIGHT, "7")
    write(machine, machine.shell_of(0), WEIGHT, value)
    assert read(machine, WEIGHT) == weight


def test_6_1_has_no_weights() -> None:
    assert errno_of(read, two_nodes(kernel="6.1"), WEIGHT) == "ENOENT"


@pytest.mark.parametrize(
    ("name", "value", "errno"),
    [
        (WEIGHT, "256", "EINVAL"),
        (WEIGHT, "x", "EINVAL"),
        (WEIGHT, "-1", "EINVAL"),
        ("drop_caches", "0", "EINVAL"),
        ("drop_caches", "5", "EINVAL"),
        ("thp", "sometimes", "EINVAL"),
        ("demotion_enabled", "maybe", "EINVAL"),
        ("numa_balancing", "x", "EINVAL"),
        ("numa_balancing", "4", "EINVAL"),
        ("numa_balancing/scan_size_mb", "0", "EINVAL"),
        ("numa_balancing/scan_period_max_ms", "x", "EINVAL"),
        ("swappiness", "1", "ENOENT"),
    ],
)
def test_what_cannot_be_written(machine: Machine, name: str, value: str, errno: str) -> None:
    assert errno_of(write, machine, machine.shell_of(0), name, value) == errno


def test_only_root_writes(machine: Machine) -> None:
    assert errno_of(write, machine, new_task(machine, uid=1000), WEIGHT, "2") == "EACCES"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numa_balancing", "0"),
        ("thp", "never"),
        ("demotion_enabled", "false"),
        ("nr_hugepages", "0"),
    ],
)
def test_what_is_not_simulated_can_be_switched_off(machine: Machine, name: str, value: str) -> None:
    write(machine, machine.shell_of(0), name, value)


@pytest.mark.parametrize("value", ["1", "Y", "true\n"])
def test_demotion_is_switched_on_and_off(machine: Machine, value: str) -> None:
    write(machine, machine.shell_of(0), "demotion_enabled", value)
    assert (machine.demotion, read(machine, "demotion_enabled")) == (True, "true")
    write(machine, machine.shell_of(0), "demotion_enabled", "0")
    assert (machine.demotion, read(machine, "demotion_enabled")) == (False, "false")


@pytest.mark.parametrize(
    ("value", "dropped", "counters"),
    [
        ("1", 32, {"drop_pagecache": 1, "drop_slab": 0}),
        ("2", 0, {"drop_pagecache": 0, "drop_slab": 1}),
        ("3", 32, {"drop_pagecache": 1, "drop_slab": 1}),
        ("4", 0, {"drop_pagecache": 0, "drop_slab": 0}),
    ],
)
def test_caches_are_dropped_by_bit(
    machine: Machine, value: str, dropped: int, counters: dict[str, int]
) -> None:
    task = new_task(machine)
    addr = mapped(machine, task, "128KiB", space=new_file(machine, "128KiB", "ext4"))
    touch(machine, task, addr, 4096, write=False)
    munmap(machine, task, addr, 128 << 10)
    free = machine.nodes[0].nr_free
    write(machine, machine.shell_of(0), "drop_caches", value)
    assert machine.nodes[0].nr_free - free == dropped
    assert {name: machine.counters[name] for name in counters} == counters


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_setting_has_a_long_name_too(machine: Machine, setting: Setting) -> None:
    if setting.read is None:
        assert errno_of(read, machine, setting.long_name) == "EACCES"
    else:
        assert read(machine, setting.long_name) == read(machine, setting.name)


def test_all_that_can_be_read_are_listed_with_each_nodes_weight(machine: Machine) -> None:
    values = read_all(machine)
    assert values.keys() == SETTINGS.keys() - {"drop_caches", "compact_memory"} | {
        "weighted_interleave/node0",
        WEIGHT,
    }
    assert values["thp_defrag"] == "always defer defer+madvise [madvise] never"


def test_pool_of_a_node_that_does_not_exist_cannot_be_set(machine: Machine) -> None:
    caller = machine.shell_of(0)
    assert errno_of(write, machine, caller, "nr_hugepages", "1", 7) == "ENOENT"
