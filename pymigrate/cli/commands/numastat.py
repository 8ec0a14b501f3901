"""``pymigrate numastat``."""

from pymigrate.cli.program import program_command

command = program_command(
    "numastat",
    """Print the nodes' counters, or where memory lies: numastat 2.0.19 with its ARGS.

    Without ARGS it prints the page allocator's counters, in pages; with -m the nodes' memory, with
    -p PID that of a process, in MB.
    """,
)
