"""Writes a repeated line once a minute: an error a thousand times a second must not fill a disk."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

WINDOW_S = 60.0
_REMEMBERED = 1000


class Throttle:
    """Counts the repetitions of a line until it may be written again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: When each line was written last, and how often it was held back since.
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def admit(self, line: Hashable) -> int | None:
        """How often this line was held back since it was written last; None: hold it back now."""
        now = self._clock()
        written_at, held_back = self._seen.get(line, (now - WINDOW_S, 0))
        if now - written_at < WINDOW_S:
            self._seen[line] = (written_at, held_back + 1)
            return None
        self._seen[line] = (now, 0)
        self._seen.move_to_end(line)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return held_back

    def clear(self) -> None:
        """Forget all lines, so that each may be written again."""
        self._seen.clear()
