"""``pymigrate numactl``."""

from pymigrate.cli.program import program_command

command = program_command(
    "numactl",
    """Run a command with a policy, or show the machine: numactl 2.0.19 with its ARGS.

    A command in ARGS runs for real. While it runs, a simulated process stands for it, which has the
    policy and the CPUs that ARGS ask for and touches --size of memory; programs that it starts are
    that process's children.

    The options below stand before ARGS; `-H`, `-s` and all others are numactl's.
    """,
    runs=True,
)
