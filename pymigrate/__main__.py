"""``python -m pymigrate``: the command line."""

from pymigrate.cli.main import main

if __name__ == "__main__":
    main()
