"""What there is: machine, nodes, tasks, address spaces, VMAs, policies, files, events."""
