"""``pymigrate memhog``."""

from pymigrate.cli.program import program_command

command = program_command(
    "memhog",
    """Fill memory, and free it: memhog of numactl 2.0.19 with its ARGS, SIZE [POLICY [NODES]].

    It finishes at once; only the counters show that it ran.
    """,
)
