"""``pymigrate numactl``."""

from pymigrate.cli.program import program_command

command = program_command(
    "numactl",
    """Run a command with a policy, or show the machine: numactl 2.0.19 with its ARGS.

    A command that ARGS name runs for real. A simulated process, which has the policy and the CPUs
    that they ask for and touches --size of memory, stands for it until it ends; programs that
    it runs in turn are that process's children.

    Options before ARGS are those here; `-H`, `-s` and all others are numactl's.
    """,
    runs=True,
)
