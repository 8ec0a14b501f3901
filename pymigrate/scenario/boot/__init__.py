"""From a scenario to a machine: nodes, what tasks and the kernel hold, scattered memory."""
