import numpy as np
import pytest

from tfdefense.data import Split
from tfdefense.errors import UserError
from tfdefense.evaluation.certified_images import (
    CertifiedImage,
    image_fingerprint,
    load_certified_images,
    save_certified_images,
)


@pytest.fixture
def path(tmp_path, toy_split):
    """A table of the first four images."""
    rows = [
        CertifiedImage(number, int(label), 1, 0.25 * number, image_fingerprint(toy_split, number))
        for number, label in enumerate(toy_split.labels[:4])
    ]
    save_certified_images(tmp_path / "certified.csv", rows)
    return tmp_path / "certified.csv"


def load(path, split):
    return load_certified_images(path, split, largest_radius=0.75)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def with_other_pixel(split, number):
    images = np.array(split.images)
    images[number, 0, 0, 0] = 1 - images[number, 0, 0, 0]
    return Split(images, split.labels, split.num_classes, split.dataset)


@pytest.mark.parametrize("count", [2, 4, 24])
def test_rows_of_fewer_and_of_more_images_are_read(path, toy_split, count):
    rows = load(path, toy_split.take(count))
    assert [row.radius for row in rows] == [0.0, 0.25, 0.5, 0.75]
    assert load(path.parent / "none.csv", toy_split) == []


def test_other_images_with_the_same_labels_are_refused(path, toy_split):
    with pytest.raises(UserError, match=r"certified\.csv: holds certificates of other images"):
        load(path, with_other_pixel(toy_split, 3))
    load(path, with_other_pixel(toy_split, 4))  # It is not certified yet.


def test_a_table_of_an_earlier_version_is_compared_by_labels(path, toy_split):
    path.write_text("".join(f"{line.rpartition(',')[0]}\n" for line in path.read_text().split()))
    assert path.read_text().startswith("image,label,class,radius\n0,")
    rows = load(path, with_other_pixel(toy_split, 3))
    assert {row.fingerprint for row in rows} == {""}
    save_certified_images(path, rows)
    assert load(path, toy_split) == rows
    other = Split(toy_split.images, 2 - toy_split.labels, 3, "toy")
    with pytest.raises(UserError, match="holds certificates of other images"):
        load(path, other)


@pytest.mark.parametrize("radius", ["nan", "inf", "-0.25", "0.8", "1e300", "x"])
def test_an_impossible_radius_is_one_line(path, toy_split, radius):
    change(path, ",0.5,", f",{radius},")
    with pytest.raises(
        UserError, match=rf"certified\.csv: damaged \(.*{radius}.*--overwrite"
    ) as found:
        load(path, toy_split.take(1))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("row", ["0,1,1", "0,1,1,0.5,a,b"])
def test_a_row_of_another_length_is_one_line(path, toy_split, row):
    path.write_text(f"{path.read_text()}{row}\n")
    with pytest.raises(UserError, match=r"certified\.csv: damaged \(.*--overwrite"):
        load(path, toy_split)
