"""One progress bar over all probes of a report's checks."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

from tfdefense.utils.progress import ProgressBar

Advance = Callable[[float], None]
"""Function that is told which share of a probe is done so far, in [0, 1]."""


class ProbeProgress:
    """Progress of several probes as one number of image passes, with the remaining time.

    Args:
      title: of the bar.
      passes: probe -> planned number of image passes; a probe that is not planned is not shown.

    Attributes:
      begun: names of the probes that have begun, in this order.
    """

    def __init__(self, title: str = "", passes: Mapping[str, float] | None = None) -> None:
        self._passes = {name: round(count) for name, count in (passes or {}).items()}
        self.begun: list[str] = []
        total = sum(self._passes.values())
        self._bar = ProgressBar(title, total) if total else None

    @contextlib.contextmanager
    def probe(self, name: str) -> Iterator[Advance]:
        """Count a probe as done at the end of this context; yield a function for steps between."""
        self.begun.append(name)
        planned, done = self._passes.pop(name, 0), 0

        def advance(share: float) -> None:
            nonlocal done
            now = round(planned * min(share, 1.0))
            if self._bar and now > done:
                self._bar.advance(now - done)
                done = now

        yield advance
        advance(1.0)

    def close(self) -> None:
        """Count all probes that no check needed as done, and end the bar."""
        if self._bar:
            self._bar.advance(sum(self._passes.values()))
            self._bar.close()
