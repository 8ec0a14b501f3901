"""A report: a machine, and what a plan, time or variants make of it, as one page of HTML."""
