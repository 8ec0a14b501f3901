"""Claims: their grammar, what they can name, and what is said of those that do not hold."""

import pytest

from pymigrate.claims.judge import judge
from pymigrate.claims.parse import parse
from pymigrate.mm.state.machine import Machine
from pymigrate.scenario.boot.build import build
from pymigrate.scenario.read.loader import load_text
from pymigrate.scenario.spec.runner import Runner

SCENARIO = """\
machine:
  nodes:
    0: {cpus: "0-1", memory: 512MiB}
    1: {cpus: "2-3", memory: 512MiB}
  hugetlb: {0: 4}
tasks:
  a:
    pid: 42
    cpus: "0"
    uid: 0
    mempolicy: bind:0-1
    memory:
      - {as: heap, kind: heap, size: 4MiB, pages: [[768, 0], [256, 1]]}
      - {as: h, kind: hugetlb, size: 2MiB, pages: [[1, 0]]}
    access:
      - {region: heap, rate: 100}
"""


@pytest.fixture(scope="module")
def machine() -> Machine:
    return build(load_text(SCENARIO))


@pytest.mark.parametrize(
    "claim",
    [
        "vmstat.pgmigrate_fail == 0",
        "0 == vmstat.pgmigrate_fail",
        "numa_maps(a).heap.N0 == 768",
        "numa_maps(42).heap.N1 == 25%",
        "25% <= numa_maps(a).heap.N1",
        "numa_maps(a).heap.N1 == 1MiB",
        "numa_maps(a).heap.N0 > numa_maps(a).heap.N1",
        "numa_maps(a).heap.anon == 100%",
        "numa_maps(a).heap.mapmax == 1",
        "numa_maps(a).h.N0 == 2MiB",
        "numa_maps(a).pages == 6MiB",
        "numa_maps(a).N7 == 0",
        "task(a).policy == 'bind:0-1'",
        "task(a).policy != 'default'",
        "task(a).cpus == '0'",
        "task(a).mems == '0-1'",
        "task(a).node == 0",
        "accesses(a).local == 75%",
        "accesses(a).remote == 25",
        "accesses(a).distance < 13",
        "node(1).MemFree > 500MiB",
        "node(1).MemFree <= 100%",
        "node(0).HugePages_Free == 3",
        "node(0).nr_free_pages > 1000",
        "meminfo.MemTotal == 1GiB",
        "meminfo.Active(anon) >= 0",
        "stayed == 0",
    ],
)
def test_a_claim_holds(machine: Machine, claim: str) -> None:
    verdict = judge(machine, parse(claim))
    assert verdict, str(verdict)


@pytest.mark.parametrize(
    ("claim", "actual"),
    [
        ("numa_maps(a).heap.N0 >= 90%", "75%: 768 of 1024 pages"),
        ("numa_maps(a).heap.N0 == 5", "768"),
        ("numa_maps(a).heap.N0 > 1GiB", "3MiB"),
        ("node(1).MemTotal < 12KiB", "512MiB"),
        ("task(a).policy == 'local'", "'bind:0-1'"),
        ("numa_maps(a).heap.N0 < numa_maps(a).heap.N1", "768 and 256"),
        ("numa_maps(b).N0 == 0", "unknown: there is no process called b"),
    ],
)
def test_what_is_there_instead_is_told(machine: Machine, claim: str, actual: str) -> None:
    verdict = judge(machine, parse(claim))
    assert not verdict
    assert verdict.actual == actual
    assert str(verdict) == f"{claim}: it is {actual}"


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("vmstat.pgmigrate_fail", "is not a claim; expected VALUE ==|!="),
        ("vmstat.pgmigrate_fail = 0", "is not a claim"),
        ("1 == 1", "names nothing of the machine"),
        ("__import__('os') == 1", "is not a claim"),
        ("vmstat.a b == 1", "is no value"),
        ("vmstat.pgmigrate_fial == 0", "no counter pgmigrate_fial; nearest is pgmigrate_fail"),
        ("vmstat(a).x == 0", "expected vmstat without parentheses"),
        ("numa_maps.N0 == 0", "expected numa_maps(TASK)"),
        ("numa_maps(a).heep.N0 == 0", "a has no region heep; nearest is heap"),
        ("numa_maps(a).a.b.N0 == 0", "expected numa_maps(TASK)[.REGION].FIELD"),
        ("numa_maps(a) == 0", "there is no field"),
        ("numa_maps(a).size == 0", "there is no size; expected N0"),
        ("node(7).MemFree == 0", "there is no node 7"),
        ("node(1).MemFre == 0", "no line MemFre; nearest is MemFree"),
        ("node(1).MemFree > 5", "it is in bytes; expected a size such as 64MiB"),
        ("task(a).age == 1", "expected task(TASK).policy|cpus|mems|node"),
        ("task(a).policy > 'x'", "texts are equal or not"),
        ("task(a).policy == 1", "a text and a number"),
        ("task(a).node == 50%", "task(a).node is no part of a whole"),
        ("vmstat.pgfault == 1MiB", "vmstat.pgfault is no amount of memory"),
        ("accesses(a).far == 1", "expected accesses(TASK).local|remote"),
        ("stayed.x == 1", "stayed has no parts"),
        ("ret == 0", "there is no ret"),
    ],
)
def test_what_cannot_be_judged_is_told(machine: Machine, claim: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        judge(machine, parse(claim))
    assert why in str(error.value)


STEPS = """
steps:
  - {op: pin, task: a, at: a.heap, length: 12KiB}
  - {op: migrate_pages, task: a, from: "0", to: "1", expect: [EXPECTED]}
"""


@pytest.mark.parametrize(
    ("claim", "failed"),
    [
        ("ret == 3", []),
        ("stayed == 3", []),
        ("moved == 1277", []),
        ("errno == 'none'", []),
        ("ret == 0", ["ret == 0: it is 3"]),
    ],
)
def test_a_step_expects(claim: str, failed: list[str]) -> None:
    scenario = load_text(SCENARIO + STEPS.replace("EXPECTED", claim))
    *_, last = Runner(build(scenario)).run(scenario.steps)
    assert last["failed"] == failed


def test_a_mapping_that_reaches_beyond_a_region_has_no_counts_of_its_own() -> None:
    scenario = load_text(SCENARIO)
    machine = build(scenario)
    region = machine.regions["a", "heap"]
    machine.regions["a", "part"] = region._replace(nr=1)
    assert judge(machine, parse("numa_maps(a).part.N0 == 1"))
    with pytest.raises(ValueError, match="reaches beyond part"):
        judge(machine, parse("numa_maps(a).part.anon == 1"))
