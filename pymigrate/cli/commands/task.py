"""``pymigrate task``: the memory calls of a task, as if it made them itself."""

from pymigrate.cli.declared import TableGroup

command = TableGroup("task", help="Let a task make calls: map, touch, lock, pin, fork, exit, ...")
