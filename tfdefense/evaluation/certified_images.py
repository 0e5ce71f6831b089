"""The table of a certificate: a row per image, written as CSV and read back."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfdefense.data.core.dataset import Split
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import UserError, require
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.untrusted_file import read_text_file

_COLUMNS = ("image", "label", "class", "radius", "fingerprint")


class CertifiedImage(NamedTuple):
    """A row of the table.

    Attributes:
      number: index of the image.
      label: true class.
      certified: certified class; `randomized_smoothing.ABSTAINS` if none is.
      radius: certified L2 radius.
      fingerprint: `image_fingerprint`; "" in a row of an earlier version, which did not store it.
    """

    number: int
    label: int
    certified: int
    radius: float
    fingerprint: str


def image_fingerprint(split: Split, number: int) -> str:
    """Return a hash of one image of a split and its label."""
    return data_fingerprint(split.select(slice(number, number + 1)))


def save_certified_images(path: Path, rows: Sequence[CertifiedImage]) -> None:
    """Write the table."""
    lines = [_COLUMNS, *rows]
    write_text_file(path, "".join(f"{','.join(map(str, line))}\n" for line in lines))


def load_certified_images(path: Path, split: Split, largest_radius: float) -> list[CertifiedImage]:
    """Read the table; return no rows if there is none.

    Args:
      path: the file.
      split: the images. The table may have rows of fewer or of more images.
      largest_radius: largest radius that the votes can certify.

    Raises:
      UserError: the table is damaged, or is of other images.
    """
    if not path.is_file():
        return []
    text = read_text_file(path)
    try:
        rows = [_parse(row, largest_radius) for row in list(csv.reader(text.splitlines()))[1:]]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}). To delete it: --overwrite.") from error
    for number, row in enumerate(rows[: len(split)]):
        require(
            (row.number, row.label) == (number, split.labels[number])
            and row.fingerprint in ("", image_fingerprint(split, number)),
            f"{path}: holds certificates of other images. To delete them: --overwrite.",
        )
    return rows


def _parse(row: Sequence[str], largest_radius: float) -> CertifiedImage:
    """Return a row of the file; raise `ValueError` if it cannot be one."""
    number, label, certified, radius, fingerprint = row if len(row) > 4 else (*row, "")
    found = CertifiedImage(int(number), int(label), int(certified), float(radius), fingerprint)
    # Another version may round the largest radius differently. NaN fails the comparison too.
    if not 0 <= found.radius <= 1.01 * largest_radius:
        raise ValueError(f"radius {radius}")
    return found
