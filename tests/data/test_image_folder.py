import tracemalloc

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tfdefense.data.core import disk_array
from tfdefense.errors import UserError


def save(path, value, size=(6, 8), mode="L"):
    """Save an image of one colour; size is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], value).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of 30 grey images; the grey level is 100 * label + number."""
    for label, name in enumerate(("cats", "dogs")):
        for number in range(30):
            save(tmp_path / "pets" / name / f"{number:02d}.png", 100 * label + number)
    return tmp_path / "pets"


def truncate_an_image(folder):
    Image.effect_noise((8, 6), 50).save(folder / "cats" / "00.png")
    content = (folder / "cats" / "00.png").read_bytes()
    (folder / "cats" / "00.png").write_bytes(content[:70])


def values(split):
    return set(np.round(255 * split.images[:, 0, 0, 0]).astype(int).tolist())


@pytest.mark.slow
def test_folders_are_classes_and_a_seed_draws_the_splits(folder):
    data = tfdefense.data.load(f"dir:{folder}")
    assert data.name == "dir-pets"
    assert data.class_names == ("cats", "dogs")
    assert data.image_shape == (6, 8, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 6, 6)
    for split in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(split.labels, split.images[:, 0, 0, 0] > 0.3)
        assert np.ptp(np.bincount(split.labels)) == 0, "the same share of each class"
    parts = [values(split) for split in (data.train, data.validation, data.test)]
    assert parts[0] | parts[1] | parts[2] == {*range(30), *range(100, 130)}
    assert sum(map(len, parts)) == 60


def test_splits_depend_on_file_names_and_seed_alone(folder, tmp_path):
    first = tfdefense.data.load(f"dir:{folder}")
    folder.rename(tmp_path / "elsewhere")
    again = tfdefense.data.load(f"dir:{tmp_path / 'elsewhere'}")
    np.testing.assert_array_equal(first.test.images, again.test.images)
    np.testing.assert_array_equal(first.train.images, again.train.images)
    other = tfdefense.data.load(f"dir:{tmp_path / 'elsewhere'}", split_seed=1)
    assert values(other.test) != values(first.test)
    save(tmp_path / "elsewhere" / "cats" / "new.png", 60)
    more = tfdefense.data.load(f"dir:{tmp_path / 'elsewhere'}")
    assert len(values(more.test) & values(first.test)) >= 5, "one more file moves hardly any other"


def test_the_first_test_images_cover_all_classes(folder):
    assert set(tfdefense.data.load(f"dir:{folder}").test.labels[:4]) == {0, 1}


def test_folders_named_train_test_and_val_are_the_splits(tmp_path):
    for part, offset in (("train", 0), ("Test", 40), ("val", 80)):
        for label, name in enumerate(("a", "b")):
            for number in range(4):
                save(tmp_path / part / name / f"{number}.png", offset + 10 * label + number)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert values(data.test) == {40, 41, 42, 43, 50, 51, 52, 53}
    assert values(data.validation) == {80, 81, 82, 83, 90, 91, 92, 93}
    assert len(data.train) == 8


def test_validation_is_held_out_of_train_if_it_has_no_folder(tmp_path):
    for part, offset in (("train", 0), ("test", 100)):
        for label, name in enumerate(("a", "b")):
            for number in range(20):
                save(tmp_path / part / name / f"{number}.png", offset + 30 * label + number)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 40)
    assert values(data.validation).isdisjoint(values(data.train))


def test_one_colour_image_makes_all_images_rgb(folder):
    save(folder / "cats" / "red.png", (255, 0, 0), mode="RGB")
    data = tfdefense.data.load(f"dir:{folder}")
    assert data.image_shape == (6, 8, 3)


def test_palettes_alpha_16_bits_and_orientation_are_decoded(tmp_path):
    for name in ("a", "b"):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", 7)
    deep = np.full((6, 8), 51 * 257, np.uint16)
    Image.fromarray(deep).save(tmp_path / "a" / "deep.png")
    grey = tfdefense.data.load(f"dir:{tmp_path}", split_seed=0)
    found = {
        round(255 * float(image[0, 0, 0]))
        for split in (grey.train, grey.validation, grey.test)
        for image in split.images
    }
    assert found == {7, 51}
    Image.new("RGBA", (8, 6), (10, 20, 30, 0)).save(tmp_path / "a" / "alpha.png")
    Image.new("RGB", (8, 6), (200, 100, 50)).convert("P").save(tmp_path / "b" / "palette.png")
    turned = Image.new("RGB", (6, 8), (90, 90, 90))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "b" / "turned.jpg", exif=exif, quality=100)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert data.image_shape == (6, 8, 3), "the turned image is six high and eight wide"
    everything = [*data.train.images, *data.validation.images, *data.test.images]
    colours = {tuple(np.round(255 * image[0, 0]).astype(int).tolist()) for image in everything}
    assert {(10, 20, 30), (90, 90, 90)} <= colours


def test_images_of_different_sizes_need_image_size(folder):
    save(folder / "cats" / "wide.png", 60, size=(6, 20))
    with pytest.raises(UserError, match=r"00.png 6x8, wide.png 6x20\)\. .*--image_size=32"):
        tfdefense.data.load(f"dir:{folder}")
    data = tfdefense.data.load(f"dir:{folder}", image_size=(12, 10))
    assert data.image_shape == (12, 10, 1)
    assert data.settings()["image_size"] == [12, 10]


def test_images_on_disk_equal_images_in_memory(folder, monkeypatch):
    in_memory = tfdefense.data.load(f"dir:{folder}")
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    on_disk = tfdefense.data.load(f"dir:{folder}")
    assert isinstance(on_disk.train.images, disk_array.DiskArray)
    np.testing.assert_array_equal(in_memory.train.images, np.asarray(on_disk.train.images))
    np.testing.assert_array_equal(in_memory.test.images[2:5], on_disk.test.images[2:5])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)

    def peak(count):
        for name in ("a", "b"):
            for number in range(count):
                save(tmp_path / str(count) / name / f"{number}.png", number % 256, size=(96, 96))
        tracemalloc.start()
        data = tfdefense.data.load(f"dir:{tmp_path / str(count)}")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(data.train) == 1.6 * count
        return used

    few, many = peak(100), peak(400)
    pixels = 2 * 300 * 96 * 96  # Bytes that the further images hold.
    assert many - few < 0.3 * pixels


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "cats" / "bad.png").write_bytes(b"not an image"), "bad.png: not an image"),
        (
            truncate_an_image,
            "00.png: not an image, or a damaged one",
        ),
        (lambda f: (f / "empty").mkdir(), r"no images \(.png, .jpg.*\) in .*empty"),
        (
            lambda f: [p.unlink() for p in (f / "dogs").iterdir()] and (f / "dogs").rmdir(),
            "1 folder in .*pets; two or more are needed, one per class",
        ),
        (lambda f: (f / "train").mkdir(), "has a folder train but no folder test"),
    ],
)
def test_errors_name_the_unusable_folder(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(f"dir:{folder}")


def test_a_class_without_training_images_is_an_error(tmp_path):
    for path in ("train/a", "train/b", "test/a", "test/c"):
        for number in range(3):
            save(tmp_path / path / f"{number}.png", number)
    with pytest.raises(
        UserError, match=r"test has the class 'c', which the training images do not have"
    ):
        tfdefense.data.load(f"dir:{tmp_path}")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("dir:nowhere",), "--dataset=dir:nowhere: no such directory"),
        (("dir:",), "--dataset=dir:: has no path. Give --dataset=dir:PATH"),
        (("dir",), "--dataset=dir: has no path"),
        (
            ("digits", None, (32, 32)),
            "--dataset=digits: has a fixed size .28x28. and fixed splits; --image_size",
        ),
        (("digits", None, (2, 2)), "--image_size=2x2: sides from 4 to 1024 needed"),
        (("digits", None, None, -1), "--split_seed=-1: 0 or more needed"),
    ],
)
def test_errors_name_bad_datasets_and_options(given, message):
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(*given)
