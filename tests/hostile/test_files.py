"""Files that are not what their names say, links, and archives that unfold."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tfdefense.classifiers.resolve import choose
from tfdefense.data.core.image_reader import read_encoded
from tfdefense.errors import UserError
from tfdefense.serving.client.predictions_file import (
    PredictionsFile,
    hash_source,
    read_rows,
)
from tfdefense.serving.client.written_files import require_writable_targets
from tfdefense.utils.csv_cells import escape_cell, unescape_cell
from tfdefense.utils.file_lock import (
    lock_directory,
    release_directory,
    require_own_folders,
)
from tfdefense.utils.hashing import hash_path
from tfdefense.utils.npz_archive import require_declared_sizes
from tfdefense.utils.untrusted_file import (
    parse_json,
    read_text_file,
    require_archive_size,
    require_regular_file,
)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "model.keras")
    (tmp_path / "zero.keras").symlink_to("/dev/zero")
    (tmp_path / "sm").mkdir()
    (tmp_path / "sm" / "saved_model.pb").write_bytes(b"")
    os.mkfifo(tmp_path / "sm" / "fifo")
    for name, message in (
        ("model.keras", "a FIFO; a regular file is needed"),
        ("zero.keras", "a device; a regular file"),
        ("sm", "sm: fifo: a FIFO"),
    ):
        with pytest.raises(UserError, match=message):
            choose(str(tmp_path / name))
    with pytest.raises(UserError, match="neither a SavedModel"):
        choose("/")
    with pytest.raises(UserError, match="a directory; a regular"):
        require_regular_file(tmp_path, "--x")


def test_images_that_are_not_regular_or_not_images_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    postscript = io.BytesIO()
    Image.new("RGB", (8, 8)).save(postscript, "EPS")
    (tmp_path / "eps.tiff").write_bytes(postscript.getvalue())
    for name, message in (
        ("fifo.png", "^a FIFO; a regular file is needed"),
        ("zero.jpg", "^a device; a regular"),
        ("eps.tiff", "^not an image"),
    ):
        with pytest.raises(UserError, match=message):
            read_encoded(tmp_path / name)


def test_a_hash_covers_what_links_name(tmp_path):
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    for folder in (model, elsewhere):
        folder.mkdir()
    (elsewhere / "weights").write_bytes(b"a")
    (model / "variables").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(model)
    before = hash_path(model)
    (elsewhere / "weights").write_bytes(b"b")
    assert hash_path(model) != before


def _zip_of_zeros(path, size):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("config.json", "w") as member,
    ):
        for _ in range(size // 2**20):
            member.write(bytes(2**20))


def test_archives_that_unfold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdefense.utils.untrusted_file._UNFOLDED_BYTES", 2**20)
    _zip_of_zeros(tmp_path / "bomb.keras", 8 * 2**20)
    with pytest.raises(UserError, match=r"bytes that unfold to 8,388,608; at most 1,"):
        require_archive_size(tmp_path / "bomb.keras", "--classifier=bomb.keras")
    with pytest.raises(UserError, match="unfold to"):
        choose(str(tmp_path / "bomb.keras"))
    np.savez_compressed(tmp_path / "zeros.npz", images=np.zeros(2**20), labels=np.zeros(4, int))
    with pytest.raises(UserError, match=r"zeros\.npz: .*unfold to"):
        tfdefense.data.load(f"npz:{tmp_path / 'zeros.npz'}")


def test_an_array_that_declares_another_size_is_refused(tmp_path):
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"few")
        archive.writestr("labels.npy", header.getvalue())
    with pytest.raises(ValueError, match="images is damaged"):
        require_declared_sizes(tmp_path / "large.npz")
    with pytest.raises(UserError, match=r"cannot be read \(damaged"):
        tfdefense.data.load(f"npz:{tmp_path / 'large.npz'}")


def test_arrays_that_are_not_read_are_not_judged(tmp_path):
    images, labels = np.zeros((20, 4, 4), np.uint8), np.arange(20) % 2
    about = np.array({"made": "by hand"}, dtype=object)
    named = np.zeros(3, np.dtype([("größe Ω", np.float32)]))  # Has a header of version 3.0.
    with pytest.warns(UserWarning, match="format 3"):
        np.savez(tmp_path / "x.npz", images=images, labels=labels, info=about, named=named)
    assert len(tfdefense.data.load(f"npz:{tmp_path / 'x.npz'}").class_names) == 2
    require_declared_sizes(tmp_path / "x.npz", {"named"})
    with pytest.raises(ValueError, match="info holds Python objects"):
        require_declared_sizes(tmp_path / "x.npz")


def test_an_array_without_suffix_is_judged(tmp_path):
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("images", header.getvalue())
        archive.writestr("notes", b"text")
    with pytest.raises(ValueError, match="images is damaged"):
        require_declared_sizes(tmp_path / "large.npz")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 200 + "1" + "}" * 200, "1" * 5000, "1e999", "NaN", "-Infinity",
             str(2**63), "{", "\ud800"],
)  # fmt: skip
def test_json_that_no_program_writes_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"nested|digits|number|Expecting|surrogates"):
        parse_json(text)


def test_text_files_are_measured_before_they_are_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff" * 20)
    with pytest.raises(UserError, match=r"a\.json: cannot be read: not UTF-8"):
        read_text_file(tmp_path / "a.json")
    with pytest.raises(UserError, match="20 bytes; at most 9 are"):
        read_text_file(tmp_path / "a.json", limit=9)
    (tmp_path / "link.json").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be read"):
        read_text_file(tmp_path / "link.json")


def test_a_lock_that_is_a_link_is_not_written(tmp_path):
    (tmp_path / "mine").write_text("text")
    link = tmp_path / "link"
    link.mkdir()
    (link / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=r"\.lock is not a regular file\. Remove it"):
        lock_directory(link, "run")
    copy = tmp_path / "copy"  # As `cp -al` and `rsync --link-dest` make it.
    copy.mkdir()
    (copy / ".lock").hardlink_to(tmp_path / "mine")
    lock_directory(copy, "run")
    release_directory(copy)
    fifo = tmp_path / "fifo"
    fifo.mkdir()
    os.mkfifo(fifo / ".lock")
    with pytest.raises(UserError, match="not a regular file"):
        lock_directory(fifo, "run")
    assert (tmp_path / "mine").read_text() == "text"


def test_no_folder_of_a_run_is_a_link(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    require_own_folders(run, "run")
    for target in (tmp_path, tmp_path / "gone"):
        (run / "export").symlink_to(target)
        with pytest.raises(UserError, match=r"run/export is a link to another place\. Remove it"):
            lock_directory(run, "run")
        (run / "export").unlink()


def test_purification_writes_over_nothing_that_it_did_not_write(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    for folder in (source / "sub", target):
        folder.mkdir(parents=True)
    image = source / "a.png"
    image.write_bytes(b"mine")

    def check(place, sources, *, overwrite=False):
        written = {row["file"] for row in read_rows(place)}
        require_writable_targets(place, sources, written, overwrite=overwrite)

    with pytest.raises(UserError, match=r"a\.png would replace the input"):
        check(source, {"a.png": image}, overwrite=True)
    (target / "a.png").write_bytes(b"someone's")
    with pytest.raises(UserError, match=r"bin/purify did not write it.*--overwrite"):
        check(target, {"a.png": image})
    check(target, {"a.png": image}, overwrite=True)
    (target / "predictions.csv").write_text("file,model\na.png,old\n")
    check(target, {"a.png": image})
    (target / "a.png").unlink()
    (target / "a.png").symlink_to(image)
    with pytest.raises(UserError, match="would replace the input"):
        check(target, {"a.png": image})
    (target / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is a link to another place"):
        check(target, {"link/a.png": image}, overwrite=True)


class _Model:
    """A client that answers nothing."""

    version, class_names = "model@1", ("a", "b")


@pytest.mark.parametrize(
    "name", [b"\xff.png", b"a\rb.png", b"a\r\nb.png", b'a\nb,".png', b"=1.png"]
)
def test_every_file_name_is_found_again_in_predictions(tmp_path, name):
    name = os.fsdecode(name)
    source, target = tmp_path / "in" / name, tmp_path / "out"
    source.parent.mkdir()
    target.mkdir()
    for path in (source, target / name):
        path.write_bytes(b"image")
    sources = {name: source}
    outputs = {"classes": 1, "probabilities": [0.2, 0.8], "perturbation_norm": 0.5}
    predictions = PredictionsFile(target, _Model(), sources, [])
    predictions.add(name, [("", outputs)], hash_source(source))
    stored = read_rows(target)
    assert [row["file"] for row in stored] == [name]
    require_writable_targets(target, sources, {row["file"] for row in stored}, overwrite=False)
    assert PredictionsFile(target, _Model(), sources, stored).finished == {name}


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\ta", "'=1", "a", "'a", ""])
def test_formulas_in_csv_files_are_text(text):
    assert not str(escape_cell(text)).startswith(tuple("=+-@\t"))
    assert unescape_cell(escape_cell(text)) == text
    assert json.dumps(escape_cell(1.5)) == "1.5"
