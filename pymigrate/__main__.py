"""The command line in a process of its own: ``pymigrate`` and ``python -m pymigrate``."""

import gc
import sys


def main() -> None:
    """Run one command. An interrupt while the command is still being loaded exits with 130, too."""
    gc.disable()  # a command is short, and neither modules nor a machine have cycles worth finding
    try:
        from pymigrate.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
