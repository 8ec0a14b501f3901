"""``pymigrate migspeed``."""

from pymigrate.cli.program import program_command

command = program_command(
    "migspeed",
    """Move pages between nodes: migspeed of numactl 2.0.19 with its ARGS, FROM TO.

    The machine has no clock: the time is an estimate.
    """,
)
