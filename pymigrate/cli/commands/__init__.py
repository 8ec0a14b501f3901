"""The commands of the command line, one module each; cli/main.py imports one when it is called."""
