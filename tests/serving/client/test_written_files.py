"""bin/purify never writes over its input, and leaves nothing half-written on a full disk."""

import errno
import os
import subprocess

import numpy as np
import pytest

from tests.serving.client.counting_model import SHAPE, CountingModel, write_image
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.serving.client import batch_purify
from tfdefense.serving.client.batch_purify import BatchPurifier
from tfdefense.serving.client.predictions_file import FILE
from tfdefense.serving.client.purify_settings import PurifySettings

OVERWRITE = PurifySettings(overwrite=True)


@pytest.fixture
def source(tmp_path):
    """A folder of two images; one is in a folder below."""
    for number, name in enumerate(("0.png", "below/1.png")):
        write_image(tmp_path / "in" / name, number)
    return tmp_path / "in"


@pytest.fixture
def unchanged(source):
    """Compare the input files after the test with those before it."""
    before = {path: path.read_bytes() for path in source.rglob("*.png")}
    yield
    after = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert after == before


def mount_again(folder, place):
    place.mkdir()
    command = ["mount", "--bind", str(folder), str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("given", "target", "message"),
    [
        ("in", "in", "is --input itself"),
        ("in", "in/../in/.", "is --input itself"),
        ("in", "in/out", "is inside --input"),
        ("in", "in/a/b/c", "is inside --input"),
        ("in", "in/below", "is inside --input"),
        ("in", ".", "holds --input"),
        ("in/below", "in", "holds --input"),
        ("in/0.png", "in", r"0\.png would replace the input"),
        ("in/below/1.png", "in/below", r"1\.png would replace the input"),
        ("in", "link", "is --input itself"),
        ("link", "in", "is --input itself"),
        ("in", "link/out", "is inside --input"),
        ("in", "link_to_below", "is inside --input"),
        ("in/0.png", "link", r"0\.png would replace the input"),
    ],
)
def test_the_input_folder_is_no_target(given, target, message, source, tmp_path):
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "link_to_below").symlink_to(source / "below")
    with pytest.raises(UserError, match=message):
        BatchPurifier(CountingModel(), tmp_path / given, tmp_path / target, OVERWRITE)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("mounted", "target", "message"),
    [
        ("in", "", "is --input itself"),
        ("in", "out", "is inside --input"),
        ("in/below", "", r"is a folder of --input|would replace the input"),
    ],
)
def test_the_input_folder_under_another_name_is_no_target(
    mounted, target, message, source, tmp_path
):
    place = tmp_path / "mounted"
    mount_again(tmp_path / mounted, place)
    try:
        given = tmp_path / mounted / "1.png" if mounted == "in/below" else source
        with pytest.raises(UserError, match=message):
            BatchPurifier(CountingModel(), given, place / target, OVERWRITE)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("make_link", [os.link, os.symlink])
def test_links_to_the_input_are_not_replaced(make_link, source, tmp_path):
    target = tmp_path / "out"
    (target / "below").mkdir(parents=True)
    # A link to another input than the one of the same name.
    make_link(source / "0.png", target / "below" / "1.png")
    with pytest.raises(UserError, match=r"below/1\.png would replace the input"):
        BatchPurifier(CountingModel(), source, target, OVERWRITE)


@pytest.mark.usefixtures("unchanged")
def test_a_folder_in_the_target_that_links_to_the_input_is_refused(source, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "below").symlink_to(source / "below")
    with pytest.raises(UserError, match=r"would replace the input|is a link to another place"):
        BatchPurifier(CountingModel(), source, target, OVERWRITE)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("out", r"cannot be written \(File exists\)"),
        ("out/below", r"cannot be written|is a link to another place"),
        ("out/0.png", r"0\.png exists, and bin/purify did not write it"),
    ],
)
def test_a_link_to_itself_is_an_error_of_one_line(link, message, source, tmp_path):
    path = tmp_path / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path.name)
    with pytest.raises(UserError, match=message):
        BatchPurifier(CountingModel(), source, tmp_path / "out").run()


def test_a_link_in_place_of_the_stored_answers_is_refused(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".answered").symlink_to(source)
    with pytest.raises(UserError, match=r"\.answered is a link or a file\. Remove it"):
        BatchPurifier(CountingModel(), source, tmp_path / "out", OVERWRITE)


def test_a_table_of_someone_else_is_kept(source, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / FILE).write_text("patient,result\n1,2\n")
    with pytest.raises(UserError, match=r"predictions\.csv: bin/purify did not write it"):
        BatchPurifier(CountingModel(), source, target)
    assert (target / FILE).read_text() == "patient,result\n1,2\n"
    assert BatchPurifier(CountingModel(), source, target, OVERWRITE).run() == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_named_and_the_same_command_resumes(tmp_path, small_disk):
    source, target = tmp_path / "in", small_disk / "out"
    for number in range(40):
        write_image(source / f"{number:02}.png", number)
    images = np.random.default_rng(0).random((600, *SHAPE), np.float32)
    np.savez(source / "many.npz", images=images)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(768 * 1024))
    model = CountingModel()
    with pytest.raises(WorkFailedError, match=r"small/out/\S+: cannot be written \(No space left"):
        BatchPurifier(model, source, target, PurifySettings(batch_size=8)).run()
    lines = (target / FILE).read_text().splitlines()
    assert len({line.count(",") for line in lines}) == 1  # No line is cut.
    assert not list(target.rglob("*.partial"))
    for path in target.glob("*.png"):
        assert path.stat().st_size > 0
    filler.unlink()
    before = model.answered
    assert 0 < before < 640
    assert BatchPurifier(model, source, target, PurifySettings(batch_size=8)).run() == 41
    # The batch that met the full disk is sent a second time.
    assert model.answered <= 640 + 8
    assert len((target / FILE).read_text().splitlines()) == 1 + 640


def test_a_full_disk_at_the_start_is_named_and_leaves_no_lock(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_image(tmp_path / "in" / "0.png", 0)
    monkeypatch.setattr(batch_purify, "PredictionsFile", fail)
    with pytest.raises(WorkFailedError, match=r"out: cannot be written \(No space left"):
        BatchPurifier(CountingModel(), tmp_path / "in", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
