"""What a person sees of anything that takes longer than two seconds."""

import sys
from collections.abc import Mapping

from tqdm import tqdm

from tfdefense.utils import cluster


class Progress:
    """A bar with what, how far, images a second and how long still; one line a while in a log file.

    Of several workers the chief shows it.

    Args:
      what: the work's name.
      total: images to go through in all.
      done: images already gone through, before a resume.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=" images",
            unit_scale=True,
            smoothing=0.1,
            delay=1.0,
            dynamic_ncols=interactive,
            mininterval=0.2 if interactive else 20.0,
            ascii=not interactive,
            disable=not cluster.is_chief(),
        )

    def advance(self, images: int, values: Mapping[str, float] | None = None) -> None:
        """`images` more are done; `values` are shown behind the bar."""
        if values:
            text = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(images)

    def close(self) -> None:
        """Leaves the finished bar where it stands."""
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def say(line: str) -> None:
    """Prints one line of news, above any bar that is being drawn."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
