"""The steps of a scenario: calls of the table, and what is none."""
