"""Progress bars, and lines of output that do not break them."""

import sys
from collections.abc import Mapping
from typing import ClassVar

from tqdm import tqdm

from tfdefense.utils import cluster

_printed: set[str] = set()


class ProgressBar:
    """Progress bar with the number of images, images per second and the remaining time.

    It appears after one second. If standard error is not a terminal, one line is printed every
    20 seconds instead. With several workers only the chief shows it.

    Args:
      title: the name of the work.
      total: the number of images in total.
      done: the number of images that were done before a resume.
    """

    _open: ClassVar[set[tqdm]] = set()

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=" images",
            unit_scale=True,
            smoothing=0.1,
            delay=1.0,
            dynamic_ncols=interactive,
            mininterval=0.2 if interactive else 20.0,
            ascii=not interactive,
            disable=not cluster.is_chief(),
        )
        self._open.add(self._bar)

    def advance(self, images: int, values: Mapping[str, float] | None = None) -> None:
        """Add `images` to the number of images done, and show `values` after the bar."""
        if values:
            text = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(images)

    def close(self) -> None:
        """End the bar; its last state stays on the terminal."""
        self._open.discard(self._bar)
        self._bar.close()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def show_all(cls) -> None:
        """Show the open bars now, and not after their first second."""
        for bar in cls._open:
            bar.delay = 0.0


def print_line(line: str) -> None:
    """Print one line to standard output, above any progress bar."""
    tqdm.write(line, file=sys.stdout)
    # This shows a bar that would appear later; without a delay it ends with a line break.
    ProgressBar.show_all()
    sys.stdout.flush()


def print_once(line: str) -> None:
    """Print a line as `print_line` does, unless this process has printed it already."""
    if line not in _printed:
        _printed.add(line)
        print_line(line)
