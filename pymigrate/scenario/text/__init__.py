"""The text of a scenario file: kinds of values, positions of mistakes, messages, writing one."""
