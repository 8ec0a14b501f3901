"""Random programs: scenarios of steps that a kernel answers the same each time."""

import random

from tests.oracle.draw.anything import Anything
from tests.oracle.draw.forking import Forking
from tests.oracle.draw.full import Full
from tests.oracle.draw.program import Drawn
from tests.oracle.program import Case

KINDS: dict[str, type[Drawn]] = {"any": Anything, "full": Full, "fork": Forking}


def drawn(kind: str, seed: int, number: int) -> Case:
    """The program of that kind, seed and number; always the same."""
    return KINDS[kind](random.Random(f"{kind}/{seed}/{number}")).case()
