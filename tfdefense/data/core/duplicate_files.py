"""Image files with the same bytes, in several classes or in several splits."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfdefense.data.core.image_files import LabelledFiles
from tfdefense.utils.progress import print_once


def report_duplicates(
    files: LabelledFiles, hashes: Sequence[bytes], splits: Mapping[str, np.ndarray], name: str
) -> str:
    """Print one line on equal files in different classes, and one on equal files across the test split.

    Nothing is left out: that would change the splits, and the tool cannot know which label is right.

    Args:
      files: the files.
      hashes: N hashes of their bytes.
      splits: split name -> indices of its files.
      name: the dataset as given on the command line, for messages.

    Returns:
      A note for readers of results on the test images, or "".
    """
    split_of = {int(row): split for split, rows in splits.items() for row in rows}
    equal: dict[bytes, list[int]] = {}
    for row in sorted(split_of):
        equal.setdefault(hashes[row], []).append(row)
    conflicts, shared = [], []
    for rows in equal.values():
        other_labels = [row for row in rows if files.labels[row] != files.labels[rows[0]]]
        if other_labels:
            conflicts.append((rows[0], other_labels[0], len(rows)))
        tests = [row for row in rows if split_of[row] == "test"]
        others = [row for row in rows if split_of[row] != "test"]
        if tests and others:
            shared.append((tests[0], others[0], len(tests)))
    if conflicts:
        print_once(
            f"--dataset={name}: {_count(conflicts):,} files have the same bytes as a file of another"
            f" class, such as {_name_pair(conflicts, files)}. Some of their labels are wrong."
        )
    if not shared:
        return ""
    note = (
        f"{_count(shared):,} of {len(splits['test']):,} test images are also training or validation"
        " images, byte for byte"
    )
    pair = _name_pair(shared, files)
    print_once(f"--dataset={name}: {note}, such as {pair}. Accuracy on them says little.")
    return f"{note}."


def _count(found: Sequence[tuple[int, int, int]]) -> int:
    return sum(count for _, _, count in found)


def _name_pair(found: Sequence[tuple[int, int, int]], files: LabelledFiles) -> str:
    first, second, _ = found[0]
    return f"{files.names[first]} and {files.names[second]}"
