"""Sizes, links and depths of files and folders that no program writes."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tfdefense.classifiers.custom.saved_model_file import parse_saved_model
from tfdefense.classifiers.resolve import choose
from tfdefense.data.core import file_hashes
from tfdefense.data.core.class_labels import number_labels
from tfdefense.data.core.file_listing import list_files
from tfdefense.errors import UserError
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.untrusted_file import require_regular_tree


def _sparse(path, size):
    """Write a file that has a size and takes no space."""
    with path.open("wb") as file:
        file.truncate(size)


def test_models_that_are_too_large_are_refused_before_they_are_read(tmp_path):
    for name in ("model.keras", "model.h5"):
        _sparse(tmp_path / name, 2**42)
        with pytest.raises(UserError, match=r"4,398,046,511,104 bytes; at most"):
            choose(str(tmp_path / name))
    for name in ("saved_model.pb", "variables"):
        (tmp_path / name).mkdir()
        _sparse(tmp_path / name / "saved_model.pb", 1)
        _sparse(tmp_path / name / name, 2**42)
        with pytest.raises(UserError, match="bytes; at most"):
            choose(str(tmp_path / name))
    _sparse(tmp_path / "saved_model.pb" / "saved_model.pb", 2**31)
    with pytest.raises(UserError, match=r"saved_model\.pb has 2,147,483,648 bytes, 2 GiB or more"):
        parse_saved_model(tmp_path / "saved_model.pb", "--classifier=x")
    run = tmp_path / "run"
    run.mkdir()
    _sparse(run / "classifier.keras", 2**42)
    with pytest.raises(UserError, match="bytes; at most"):
        RunDirectory(run).load_classifier()


def test_a_model_contains_no_file_of_another_place(tmp_path):
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"")
    (model / "inside").symlink_to("variables")
    require_regular_tree(model, "--classifier=model")
    for target in ("/etc/hostname", "/etc", "../../elsewhere", "/nowhere"):
        (model / "variables" / "link").symlink_to(target)
        with pytest.raises(UserError, match=r"model: variables/link: a link to another place"):
            choose(str(model))
        (model / "variables" / "link").unlink()
    (model / "variables" / "link").symlink_to("/etc/hostname")
    require_regular_tree(model, "--classifier=model", allow_links=True)


def test_a_link_to_itself_in_a_model_is_an_error_of_one_line(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "link").symlink_to("link")
    for allow_links in (False, True):
        with pytest.raises(
            UserError, match=r"model: link: cannot be read \(Too many levels of sym"
        ):
            require_regular_tree(tmp_path, "--classifier=model", allow_links=allow_links)


def test_folders_are_bounded(tmp_path, monkeypatch):
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * 100).mkdir(parents=True)
    with pytest.raises(UserError, match="nested more than 64 deep"):
        list_files(deep, (".png",))
    with pytest.raises(UserError, match="nested more than 64 deep"):
        require_regular_tree(deep, "--classifier=deep")
    monkeypatch.setattr("tfdefense.data.core.file_listing._MAX_LEFT_OUT", 10)
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(11):
        (flat / f"{number}.txt").write_bytes(b"")
    with pytest.raises(UserError, match="11 files that are not images, and 0 images"):
        list_files(flat, (".png",))
    for number in range(20):
        (flat / f"{number}.png").write_bytes(b"")
    assert len(list_files(flat, (".png",))[0]) == 20


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/a.png", "a/../../b.png", "~/a.png"])
def test_a_table_names_only_files_in_its_folder(tmp_path, name):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"filename,label\na.png,a\n{name},b\n")
    with pytest.raises(UserError, match="1 of 2 files are named by a path that leads out"):
        tfdefense.data.load(f"csv:{tmp_path / 'labels.csv'}")


def test_the_size_of_huge_image_files_is_hashed_alone(tmp_path):
    _sparse(tmp_path / "a.png", 2**42)
    _sparse(tmp_path / "b.png", 2**42 + 1)
    hashes = [file_hashes.hash_image(tmp_path / name) for name in ("a.png", "b.png")]
    assert hashes[0] != hashes[1]


def test_all_bytes_of_files_of_records_are_hashed(tmp_path, monkeypatch):
    """Unlike images, they may be large; with equal sizes, stale images would be served."""
    monkeypatch.setattr(file_hashes, "_MAX_IMAGE_BYTES", 4)
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(path.name.encode() * 8)
    images = file_hashes.hash_files(paths, [1, 1], "hashing", file_hashes.hash_image)
    records = file_hashes.hash_files(paths, [1, 1], "hashing", file_hashes.hash_bytes)
    assert images[0] == images[1]
    assert records[0] != records[1]


def test_labels_of_no_bytes_are_refused_before_they_are_decoded(tmp_path):
    """Two thousand million of them fit into a file of a few bytes."""
    images = np.zeros((4, 6, 8), np.uint8)
    np.savez(tmp_path / "some.npz", images=images)
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as many:
        with zipfile.ZipFile(tmp_path / "some.npz") as few:
            many.writestr("images.npy", few.read("images.npy"))
        header = "{'descr': '|S0', 'fortran_order': False, 'shape': (2000000000,), }".ljust(117)
        many.writestr("labels.npy", b"\x93NUMPY\x01\x00v\x00" + header.encode() + b"\n")
    with pytest.raises(UserError, match=r"labels: \|S0 of shape \(2000000000,\) given, 4 whole"):
        tfdefense.data.load(f"npz:{tmp_path / 'many.npz'}")


def test_long_labels_take_no_memory_of_others():
    labels = ["x" * 100_000] + ["a", "b"] * 100_000
    numbers, names = number_labels(labels, [""] * len(labels), "csv:x")
    assert names == ("a", "b", "x" * 100_000)
    assert numbers[:3].tolist() == [2, 0, 1]


def test_strings_whose_characters_do_not_exist_are_damage(tmp_path):
    labels = np.array(["a"] * 40)
    content = io.BytesIO()
    np.save(content, labels)
    damaged = content.getvalue()[: -4 * 40] + b"\xff" * 160
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("labels.npy", damaged)
        images = io.BytesIO()
        np.save(images, np.zeros((40, 8, 8), np.uint8))
        archive.writestr("images.npy", images.getvalue())
    with pytest.raises(UserError, match="damaged, or not an"):
        tfdefense.data.load(f"npz:{tmp_path / 'x.npz'}")
