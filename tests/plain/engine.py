"""The plain model's engine: which folios a call finds to move, and what becomes of them."""

from collections.abc import Callable, Iterable

from tests.plain.faults import Memory
from tests.plain.memory import Folio, Mm, need


class Queue:
    """The folios to move that a walk has found, and how many must stay."""

    def __init__(self) -> None:
        self.folios, self.failed = dict[Folio, None](), 0
        self.last: Folio | None = None  # huge, and mapped page by page

    def look(
        self, mm: Mm, a: int, b: int, misplaced: Callable[[int], bool], move: bool, move_all: bool
    ) -> None:
        """Walk a range of pages."""
        for _, entry, folio in mm.mapped(a, b):
            if not misplaced(folio.node) or (folio is self.last and not entry.huge):
                continue
            self.last = folio if folio.nr > 1 and not entry.huge else self.last
            need(move or move_all, "EIO")
            if move_all or not folio.shared:
                self.failed += folio in self.folios
                self.folios[folio] = None


def engine(memory: Memory, folios: Iterable[Folio], place: Callable[[Folio], int | None]) -> int:
    """Move folios to where *place* finds memory for them; how many stayed."""
    failed, split, left, events = 0, 0, False, memory.events
    for folio in sorted(folios, key=lambda folio: not folio.hugetlb):
        node, huge = place(folio), folio.nr > 1 and not folio.hugetlb
        pieces = memory.split(folio) if huge and (folio.partial or node is None) else None
        if pieces is not None:
            split += 1
            events.update(thp_migration_fail=1, thp_migration_split=1)
            left |= not all(move_piece(memory, piece, place) for piece in reversed(pieces))
        elif node is not None and folio.unmap_to_move() and not folio.held:
            if folio.hugetlb:
                memory.pool.moved(folio, node)
            folio.node = node
            events.update(pgmigrate_success=folio.nr, thp_migration_success=huge)
        else:
            failed += 1
            events.update(pgmigrate_fail=folio.nr, thp_migration_fail=huge)
            need(node is not None, "ENOMEM")
    return failed + split if failed or left else 0


def move_piece(memory: Memory, piece: Folio, place: Callable[[Folio], int | None]) -> bool:
    """Move a page that a split left; False: there is no memory for it."""
    node = place(piece) if piece.maps else piece.node
    memory.events["pgmigrate_fail" if node is None else "pgmigrate_success"] += 1
    piece.node = piece.node if node is None else node
    return node is not None
