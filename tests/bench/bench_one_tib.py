"""The 1 TiB host: whole commands, their memory, and the size of the state."""

import os

from tests.bench.common import SCENARIOS, best, cost, run, state_file


def main() -> None:
    scenario = str(SCENARIOS / "one-tib.yaml")
    with state_file() as state:
        run("boot", scenario, state=state)
        pids = [line.split()[0] for line in run("ps", state=state).splitlines()[1:]]
        for args in (
            ["boot", scenario],
            ["numa_maps", pids[0]],
            ["migratepages", pids[0], "0", "1"],
            ["migratepages", pids[-1], "all", "3"],
            ["vmstat"],
        ):
            seconds = best(lambda args=args: run(*args, state=state), 3)
            memory = cost(*args, state=state).mb
            name = " ".join(args).replace(scenario, "one-tib.yaml")
            print(f"  {name:36} {seconds:6.3f} s  {memory:5.0f} MB")
        print(f"  {'state file':36} {os.path.getsize(state) / 1e3:6.0f} kB")


if __name__ == "__main__":
    main()
