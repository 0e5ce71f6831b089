"""Datasets of labelled image files, whatever says the labels."""

import contextlib
from pathlib import Path

import numpy as np

from tfdefense.data.core import splitting
from tfdefense.data.core.dataset import DataOptions, Dataset, Split, make_slug
from tfdefense.data.core.decoded_images import decode_images
from tfdefense.data.core.duplicate_files import report_duplicates
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.data.core.image_files import DAMAGED, ImageFiles, LabelledFiles, survey_images
from tfdefense.utils.progress import print_once
from tfdefense.utils.real_path import real_path


def load_labelled_files(
    name: str, place: Path, files: LabelledFiles, options: DataOptions
) -> Dataset:
    """Decode image files and complete their splits.

    Args:
      name: "dir:PATH" or "csv:FILE", for messages.
      place: the folder or file in `name`.
      files: the files of all parts.
      options: see `DataOptions`.

    Raises:
      UserError: images that cannot be decoded or differ in size, or too few images for the splits.
    """
    shape = survey_images(files, name, options)
    source = ImageFiles(f"--dataset={name}", files, shape, skip_corrupt=options.skip_corrupt)
    decoded = decode_images(source)
    usable = decoded.labels != DAMAGED
    if not usable.all():
        damaged = [files.names[row] for row in np.flatnonzero(~usable).tolist()]
        print_once(
            f"--dataset={name}: {len(damaged):,} damaged files left out: {shorten_list(damaged)}."
        )
    orders = {}
    for part, rows in files.parts.items():
        shuffled = splitting.order_by_hash(
            [files.names[row] for row in rows.tolist()], options.split_seed
        )
        orders[part] = rows[shuffled][usable[rows[shuffled]]]
    labels = dict.fromkeys(files.parts, files.labels)
    planned = splitting.plan_splits(labels, orders, name, files.class_names)
    note = ""
    with contextlib.suppress(OSError):  # A file has gone since it was decoded.
        rows_of = {split: rows for split, (_, rows) in planned.items()}
        note = report_duplicates(files, source.file_hashes(), rows_of, name)
    kind = name.partition(":")[0]
    slugs = [make_slug(place)] if place.is_dir() else [make_slug(place.parent), make_slug(place)]
    short_name = "-".join([kind, *slugs])
    splits = {
        split: Split(
            decoded.select(rows),
            files.labels[rows],
            len(files.class_names),
            dataset=short_name,
            note=note if split == "test" else "",
        )
        for split, (_, rows) in planned.items()
    }
    return Dataset(
        name=short_name,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=files.class_names,
        source=f"{kind}:{real_path(place)}",
        options=options.settings(),
    )
