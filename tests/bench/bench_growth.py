"""How whole commands grow with random pages and with mappings: user CPU for each of them."""

from tests.bench.bench_rows import Row, measure
from tests.bench.common import loop

SCENARIO = """
machine:
  nodes:
    0: {{cpus: "0", memory: 20GiB}}
    1: {{cpus: "1", memory: 20GiB}}
tasks:
  a: {{pid: 4321, memory: [{{as: heap, size: {}KiB, pages: {{random: 0-1, seed: 7}}}}]}}
"""
COMMANDS = ("boot", "migratepages 4321 0 1", "numa_maps 4321")


def main() -> None:
    unit = loop()
    print(f"  the loop: {unit:.2f} s")
    for nr in (10_000, 100_000, 1_000_000, 4_000_000):  # a scenario may have 4 194 304
        _show(unit, nr, "pages", [Row("", SCENARIO.format(nr * 4), cmd, 0) for cmd in COMMANDS])
    for nr in (8_000, 16_000, 32_000, 64_000):
        commands = ("capture", *COMMANDS)
        _show(unit, nr, "mappings", [Row("", "", cmd, 0, mappings=nr) for cmd in commands])


def _show(unit: float, nr: int, what: str, rows: list[Row]) -> None:
    for row in rows:
        found = measure(row)
        each = found.seconds / nr * 1e6
        took = f"{found.seconds:6.2f} s {found.mb:5.0f} MB {found.seconds / unit:6.2f} loops"
        print(f"  {nr:8} {what:8} {row.command:22} {took} {each:8.1f} us each", flush=True)


if __name__ == "__main__":
    main()
