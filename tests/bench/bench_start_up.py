"""Small commands on a booted small machine, as ratios to `python3 -c pass`."""

from tests.bench.common import SCENARIOS, bare_python, best, run, state_file


def main() -> None:
    with state_file() as state:
        run("boot", str(SCENARIOS / "two-node.yaml"), state=state)
        bare = bare_python()
        print(f"  python3 -c pass                 {bare * 1e3:7.1f} ms")
        for args in (
            ["vmstat"],
            ["numa_maps", "4321"],
            ["ps"],
            ["migratepages", "4321", "0", "1"],
            ["boot", str(SCENARIOS / "two-node.yaml")],
        ):
            seconds = best(lambda args=args: run(*args, state=state), 15)
            name = " ".join(args)[:30]
            print(f"  {name:30}  {seconds * 1e3:7.1f} ms  {seconds / bare:5.1f} times")


if __name__ == "__main__":
    main()
