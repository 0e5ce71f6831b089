import zipfile

import numpy as np
import pytest

import tfdefense
from tfdefense.data.core import disk_array
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 6, 8), np.uint8)
LABELS = np.arange(60) % 3


@pytest.mark.parametrize("keys", [("x_{}", "y_{}", "val"), ("{}_images", "{}_labels", "val")])
def test_archives_of_keras_and_medmnist_are_read(tmp_path, keys):
    images, labels, validation = keys
    parts = {"train": slice(0, 40), validation: slice(40, 50), "test": slice(50, 60)}
    arrays = {images.format(part): IMAGES[rows] for part, rows in parts.items()}
    arrays |= {labels.format(part): LABELS[rows, np.newaxis] for part, rows in parts.items()}
    np.savez_compressed(tmp_path / "some.npz", **arrays)
    data = tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")
    assert data.name == "npz-some"
    assert data.image_shape == (6, 8, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 10, 10)
    np.testing.assert_array_equal(data.test.images[..., 0], IMAGES[50:] / np.float32(255))
    np.testing.assert_array_equal(data.test.labels, LABELS[50:])


def test_keys_in_capital_letters_and_other_names_of_validation_are_read(tmp_path, capsys):
    arrays = {"X_train": IMAGES[:40], "Y_train": LABELS[:40], "X_valid": IMAGES[40:50]}
    arrays |= {"y_valid": LABELS[40:50], "x_test": IMAGES[50:], "Y_test": LABELS[50:]}
    np.savez(tmp_path / "some.npz", **arrays, masks=IMAGES)
    data = tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 10, 10)
    np.testing.assert_array_equal(data.validation.labels, LABELS[40:50])
    assert "masks. Splits used: train, validation, test." in capsys.readouterr().out


def test_a_seed_splits_an_archive_without_splits(tmp_path):
    np.savez(tmp_path / "some.npz", images=IMAGES / np.float32(255), labels=LABELS)
    name = f"npz:{tmp_path / 'some.npz'}"
    data = tfdefense.data.load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == (48, 6, 6)
    np.testing.assert_array_equal(data.test.images, tfdefense.data.load(name).test.images)
    other = tfdefense.data.load(name, split_seed=1)
    assert not np.array_equal(data.test.images, other.test.images)


def test_validation_is_held_out_of_train_if_it_is_missing(tmp_path):
    arrays = {"x_train": IMAGES[:50], "y_train": LABELS[:50]}
    np.savez(tmp_path / "some.npz", **arrays, x_test=IMAGES[50:], y_test=LABELS[50:])
    data = tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}", image_size=(12, 12))
    assert (len(data.train), len(data.validation), len(data.test)) == (44, 6, 10)
    assert data.image_shape == (12, 12, 1)


def test_parts_that_are_sorted_by_class_are_shuffled(tmp_path, capsys):
    """Attacks and validations take the first images, which would be of one class."""
    order = np.argsort(LABELS, kind="stable")
    np.savez(
        tmp_path / "some.npz",
        **{"x_train": IMAGES[order], "y_train": LABELS[order], "x_val": IMAGES, "y_val": LABELS},
        **{"x_test": IMAGES[order], "y_test": LABELS[order]},
    )
    name = f"npz:{tmp_path / 'some.npz'}"
    data = tfdefense.data.load(name)
    test = data.test
    assert set(test.labels[:15]) == set(data.train.labels[:15]) == {0, 1, 2}
    np.testing.assert_array_equal(data.validation.labels, LABELS)
    assert "its train and test images are sorted by class. They are used in a random order" in (
        capsys.readouterr().out
    )
    np.testing.assert_array_equal(tfdefense.data.load(name).test.images, test.images)
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    shown = np.round(test.images[..., 0] * 255).astype(np.uint8)
    assert [label_of[image.tobytes()] for image in shown] == test.labels.tolist()


@pytest.mark.parametrize("options", [{}, {"image_size": (9, 5)}, {"channels": 3}])
def test_images_on_disk_equal_images_in_memory(tmp_path, monkeypatch, options):
    arrays = {"x_train": IMAGES[:40], "y_train": LABELS[:40], "y_test": LABELS[40:]}
    np.savez(tmp_path / "some.npz", **arrays, x_test=IMAGES[40:] / 255)
    name = f"npz:{tmp_path / 'some.npz'}"
    options = tfdefense.data.DataOptions(**options)
    in_memory = tfdefense.data.load_with_options(name, options)
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    on_disk = tfdefense.data.load_with_options(name, options)
    for part in ("train", "validation", "test"):
        here, there = getattr(in_memory, part), getattr(on_disk, part)
        assert isinstance(there.images, disk_array.DiskArray)
        assert data_fingerprint(here) == data_fingerprint(there)


@pytest.mark.parametrize(("divisor", "said"), [(65535, True), (255**2, True), (4095, False)])
def test_images_that_are_nearly_black_are_said(tmp_path, capsys, divisor, said):
    """12-bit images that were divided as if they had 16 bits, or by 255 twice."""
    deep = IMAGES.astype(np.float32) / 255 * 4095
    np.savez(tmp_path / "some.npz", images=deep / np.float32(divisor), labels=LABELS)
    tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")
    printed = capsys.readouterr().out
    assert (
        "images: images are nearly black: no value of the first 100 is above 16" in printed
    ) == said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, r"holds images; x_train, y_train, x_test, y_test .* needed"),
        ({"data": IMAGES, "target": LABELS}, "holds data, target; x_train"),
        ({"images": IMAGES[:, 0], "labels": LABELS}, r"images: shape \(60, 8\) given, \[N, H, W\]"),
        (
            {"images": IMAGES[:, np.newaxis], "labels": LABELS},
            r"shape \(60, 1, 6, 8\) given.*channels come last",
        ),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "divide by 255"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "dtype int64 given"),
        (
            {"images": IMAGES, "labels": LABELS[:-1]},
            r"labels: int64 of shape \(59,\) given, 60 whole",
        ),
        ({"images": IMAGES, "labels": np.eye(3)[LABELS]}, "one-hot labels"),
        ({"images": IMAGES, "labels": LABELS / 2}, "float64 of shape"),
        ({"images": IMAGES, "labels": LABELS - 1}, r"values in \[-1, 1\], \[0, 1\] needed"),
        ({"images": IMAGES, "labels": LABELS + 1}, "class '0' has 0 images"),
        ({"images": IMAGES, "labels": 0 * LABELS}, "one class only"),
        ({"images": IMAGES // 128, "labels": LABELS}, "uint8 values 0 and 1 given.*255"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no images"),
        ({"images": np.uint8(3), "labels": LABELS}, r"no images \(shape \(\) given\)"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, r"no images \(shape \(60, 0, 8\) given\)"),
        ({"images": IMAGES, "labels": LABELS + 2**32}, "values from 4294967296 to 4294967298"),
        ({"images": IMAGES, "labels": LABELS + 10**8}, "classes from 0 to 99,999 needed"),
        ({"images": np.array([None] * 60), "labels": LABELS}, "it holds Python objects"),
    ],
)
def test_errors_name_the_unusable_archive(tmp_path, arrays, message):
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((12, 8, 8), r"train \(6, 8, 1\), test \(8, 8, 1\)\. Give one shape: --image_size=32"),
        ((12, 6, 8, 3), r"train \(6, 8, 1\), test \(6, 8, 3\)\. Give one shape: --channels=3"),
    ],
)
def test_parts_of_different_shapes_are_refused(tmp_path, shape, message):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS[:12]}
    np.savez(tmp_path / "some.npz", **arrays, x_test=np.zeros(shape, np.uint8))
    name = f"npz:{tmp_path / 'some.npz'}"
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(name)
    options = tfdefense.data.DataOptions(image_size=(6, 6), channels=3)
    assert tfdefense.data.load_with_options(name, options).image_shape == (6, 6, 3)


def test_damaged_members_of_any_compression_are_named(tmp_path):
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        np.savez(tmp_path / "plain.npz", images=IMAGES, labels=LABELS)
        with (
            zipfile.ZipFile(tmp_path / "plain.npz") as plain,
            zipfile.ZipFile(tmp_path / "some.npz", "w", method) as packed,
        ):
            for member in plain.namelist():
                packed.writestr(member, plain.read(member))
        content = bytearray((tmp_path / "some.npz").read_bytes())
        content[60:400] = bytes(340)
        (tmp_path / "some.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read \(damaged, or not an .npz\)"):
            tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")


def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    np.savez(tmp_path / "some.npz", images=IMAGES, labels=LABELS)

    def exhaust(*_, **__):
        raise MemoryError

    monkeypatch.setattr(np, "divide", exhaust)
    with pytest.raises(MemoryError):
        tfdefense.data.load(f"npz:{tmp_path / 'some.npz'}")


def test_errors_name_damaged_and_missing_files(tmp_path):
    path = tmp_path / "some.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    content = path.read_bytes()
    for spoiled in (content[: len(content) // 2], b"", b"text", content[:200] + content[400:]):
        path.write_bytes(spoiled)
        with pytest.raises(UserError, match=r"cannot be read \(damaged, or not an .npz\)"):
            tfdefense.data.load(f"npz:{path}")
    with pytest.raises(UserError, match="no such file"):
        tfdefense.data.load(f"npz:{tmp_path / 'other.npz'}")
