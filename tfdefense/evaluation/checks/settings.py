"""Settings of the checks of a report."""

import dataclasses

from tfdefense.errors import require
from tfdefense.evaluation.checks.registry import ALL, NONE, select_checks


@dataclasses.dataclass(frozen=True)
class CheckSettings:
    """Selection of the checks of a report, and the number of their images.

    Attributes:
      names: see `select_checks`.
      images: number of images, whatever time they take; None means at most as many as the budget of
        the defence says, and fewer if the checks would take more than a third of the report.

    Raises:
      UserError: an unknown name, none at all, "none" with others, or no image.
    """

    names: tuple[str, ...] = (ALL,)
    images: int | None = None

    def __post_init__(self) -> None:
        given = ",".join(self.names)
        require(len(self.names) > 0, "--checks: none given; all, fast, none or names are needed.")
        require(
            NONE not in self.names or len(self.names) == 1,
            f"--checks={given}: {NONE} cannot be combined with other names.",
        )
        require(
            self.names != (NONE,) or self.images is None,
            f"--check_images={self.images}: --checks=none has no images. Leave one of them out.",
        )
        select_checks(self.names)
        require(
            self.images is None or self.images >= 1,
            f"--check_images={self.images}: at least 1 is needed.",
        )

    def require_images(self, available: int) -> None:
        """Raise `UserError` if a report with so many white-box images cannot have these checks."""
        require(
            self.images is None or self.images <= available,
            f"--check_images={self.images}: the report has {available} white-box images."
            " Raise --white_box_images.",
        )
