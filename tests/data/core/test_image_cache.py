import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tfdefense.data.core import disk_array, image_cache, image_files
from tfdefense.data.core.decoded_images import decode_images
from tfdefense.data.core.disk_array import as_images
from tfdefense.data.core.image_cache import ImageCache
from tfdefense.data.core.tfds_images import TFDSImages
from tfdefense.errors import UserError
from tfdefense.utils import progress

SHAPE = (20, 4, 5, 3)


class Noise:
    """An image source in memory that counts how often it is decoded."""

    def __init__(self, seed=0, name="noise"):
        rng = np.random.default_rng(seed)
        self.name = name
        self.shape = SHAPE
        self.images = rng.integers(0, 256, SHAPE, np.uint8)
        self.labels = np.arange(20) % 3
        self.key = f"{seed:032x}"
        self.decoded = 0

    def fingerprint(self):
        return self.key

    def decode(self):
        self.decoded += 1
        for start in range(0, 20, 8):
            yield self.images[start : start + 8], self.labels[start : start + 8]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty cache, and no line printed yet."""
    monkeypatch.setenv("TFDEFENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(progress, "_printed", set())
    return tmp_path / "cache" / "images"


def check(source):
    """Decode or open, and compare with the images of the source."""
    result = decode_images(source)
    np.testing.assert_array_equal(result.select(), as_images(source.images))
    np.testing.assert_array_equal(result.labels, source.labels)
    return result


def test_the_second_time_nothing_is_decoded(place):
    source = Noise()
    check(source)
    assert source.decoded == 1
    result = check(source)
    assert source.decoded == 1
    assert isinstance(result.stored, np.memmap)
    assert [path.name for path in place.iterdir()] == [source.key]


def test_another_key_is_another_entry(place):
    first, second = Noise(1), Noise(2)
    for source in (first, second, first, second):
        check(source)
    assert (first.decoded, second.decoded) == (1, 1)
    assert len(list(place.iterdir())) == 2


def test_large_images_stay_on_disk_with_the_same_values(monkeypatch):
    source = Noise()
    in_memory = decode_images(source).select(np.array([7, 3]))
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    on_disk = decode_images(source).select(np.array([7, 3]))
    assert isinstance(on_disk, disk_array.DiskArray)
    np.testing.assert_array_equal(np.asarray(on_disk), in_memory)
    assert source.decoded == 1


def flip_a_pixel(entry):
    content = bytearray((entry / "images.npy").read_bytes())
    content[-1] ^= 1
    (entry / "images.npy").write_bytes(content)


def change_the_header(entry, **changes):
    header = json.loads((entry / "header.json").read_text())
    (entry / "header.json").write_text(json.dumps({**header, **changes}))


def write_at(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def save_objects(entry):
    np.save(entry / "images.npy", np.array([None] * 20), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        save_objects,
        lambda entry: os.truncate(entry / "images.npy", 500),
        lambda entry: (entry / "images.npy").unlink(),
        lambda entry: (entry / "labels.npy").write_bytes(b""),
        lambda entry: (entry / "header.json").write_text("no JSON"),
        lambda entry: (entry / "header.json").write_text("[]"),
        lambda entry: (entry / "header.json").write_text("[" * 200_000),
        lambda entry: write_at(entry / "images.npy", 8, b"\x01"),
        lambda entry: (entry / "images.npy").write_bytes(
            (entry / "images.npy").read_bytes().replace(b"(", b" ", 1)
        ),
        lambda entry: write_at(entry / "images.npy", 0, b"PK\x03\x04"),
        lambda entry: write_at(entry / "labels.npy", 8, b"\x01"),
        lambda entry: (entry / "header.json").unlink(),
        lambda entry: change_the_header(entry, schema=99),
        lambda entry: change_the_header(entry, key="another"),
        lambda entry: change_the_header(entry, images={}),
        lambda entry: np.save(entry / "images.npy", np.zeros((20, 4, 5, 1), np.uint8)),
        lambda entry: np.save(entry / "images.npy", np.zeros(SHAPE, np.float32)),
        lambda entry: shutil.rmtree(entry) or entry.write_text("a file"),
    ],
)
def test_a_damaged_entry_is_made_again(place, capsys, damage):
    source = Noise()
    check(source)
    damage(place / source.key)
    check(source)
    assert source.decoded == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{place / source.key}: damaged cache entry; its images are decoded again."]
    check(source)
    assert source.decoded == 2
    assert capsys.readouterr().out == ""


def test_a_directory_that_cannot_be_written_is_named_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFDEFENSE_CACHE", str(tmp_path / "file" / "cache"))
    source = Noise()
    check(source)
    check(source)
    assert source.decoded == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/file/cache/images: cannot cache the decoded images of noise (Not a directory)."
        " Set TFDEFENSE_CACHE to another directory."
    ]


def test_a_disk_that_becomes_full_while_decoding_is_named(place, monkeypatch, capsys):
    def write_half(directory, source):
        next(iter(source.decode()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache, "_write_arrays", write_half)
    check(Noise())
    assert "of noise (No space left on device). Set TFDEFENSE_CACHE" in capsys.readouterr().out
    assert list(place.iterdir()) == []


def test_a_disk_without_enough_space_is_not_tried(monkeypatch, capsys):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(2000, 1000, 1000))
    source = Noise()
    check(source)
    assert source.decoded == 1
    assert "(0.0 GiB needed, 0.0 GiB free)" in capsys.readouterr().out


def test_files_that_change_while_they_are_decoded_are_not_stored(place, capsys):
    source = Noise()
    keys = iter(["a" * 32, "b" * 32])
    source.fingerprint = lambda: next(keys)
    check(source)
    assert "(its files changed)" in capsys.readouterr().out
    assert list(place.iterdir()) == []


def test_a_damaged_file_leaves_nothing_behind(place):
    source = Noise()

    def decode():
        yield source.images[:8], source.labels[:8]
        raise UserError("x.png: not an image")

    source.decode = decode
    with pytest.raises(UserError, match=r"x\.png: not an image"):
        decode_images(source)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("count", [12, 28])
def test_a_source_with_another_number_of_images_is_an_error(count):
    source = Noise()
    source.decode = lambda: iter(
        [(np.resize(source.images, (count, *SHAPE[1:])), np.arange(count))]
    )
    with pytest.raises(UserError, match=rf"noise: {count} images found, 20 announced"):
        decode_images(source)


def test_the_least_recently_used_entries_are_deleted_beyond_the_limit(place, monkeypatch):
    sources = [Noise(seed) for seed in range(3)]
    for age, source in enumerate(sources):
        check(source)
        os.utime(place / source.key / "header.json", (1_000 * age, 1_000 * age))
        for path in [place / source.key, *(place / source.key).glob("*.npy")]:
            os.utime(path, (0, 0))
    check(sources[0])  # Used last.
    size = sum(path.stat().st_size for path in (place / sources[0].key).rglob("*"))
    size += (place / sources[0].key).stat().st_size
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", f"{(2.5 * size + 1_200) / 2**30:.12f}")
    check(Noise(3))
    kept = {path.name for path in place.iterdir()}
    assert kept == {Noise(0).key, Noise(2).key, Noise(3).key}


def test_abandoned_partial_entries_are_deleted_and_foreign_files_stay(place, monkeypatch):
    check(Noise(1))
    for name, age in ((f"{'c' * 32}.7.partial", 0), (f"{'d' * 32}.7.partial", 10**9)):
        (place / name).mkdir()
        os.utime(place / name, None if not age else (1, 1))
    (place / "notes.txt").write_text("mine")
    (place / ("e" * 32)).mkdir()
    (place / ("e" * 32) / "header.json").write_text("[]")
    for path in (place / ("e" * 32) / "header.json", place / ("e" * 32)):
        os.utime(path, (1, 1))
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", f"{2_500 / 2**30:.12f}")
    check(Noise(2))
    names = {path.name for path in place.iterdir()}
    assert names == {Noise(2).key, f"{'c' * 32}.7.partial", "notes.txt", "e" * 32}


def test_images_larger_than_the_limit_are_not_stored(place, monkeypatch, capsys):
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", "0.0000001")
    check(Noise())
    assert "Set TFDEFENSE_CACHE_GIB to 0.1 or more" in capsys.readouterr().out
    assert not place.exists()


def test_a_limit_of_zero_switches_the_cache_off(place, monkeypatch, capsys):
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", "0")
    source = Noise()
    source.fingerprint = None
    check(source)
    assert not place.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf", "1e3"])
def test_a_bad_limit_is_an_error(monkeypatch, given):
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", given)
    with pytest.raises(UserError, match=rf"TFDEFENSE_CACHE_GIB={given}: a number of GiB needed"):
        decode_images(Noise())


def test_the_directory_follows_the_environment(monkeypatch, tmp_path):
    assert ImageCache.from_environment().directory == tmp_path / "cache" / "images"
    monkeypatch.delenv("TFDEFENSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(ImageCache.from_environment().directory) == "/xdg/tfdefense/images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/a")
    assert str(ImageCache.from_environment().directory) == "/home/a/.cache/tfdefense/images"
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    assert ImageCache.from_environment() is None


def test_an_entry_that_another_process_stores_meanwhile_is_kept(place, monkeypatch):
    """It appears after the header was looked for and not found."""
    source, read_text = Noise(), image_cache.Path.read_text
    mark = place / source.key / "mark"

    def read_too_early(path, *arguments, **options):
        monkeypatch.setattr(image_cache.Path, "read_text", read_text)
        check(Noise())
        mark.touch()
        raise FileNotFoundError(path)

    monkeypatch.setattr(image_cache.Path, "read_text", read_too_early)
    check(source)
    assert mark.exists()


def store_in_process(barrier, results):
    source = Noise()
    barrier.wait()
    for _ in range(5):
        check(source)
    results.put(source.decoded)


def test_several_processes_share_a_cache(place):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=store_in_process, args=(barrier, results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    decoded = [results.get() for _ in processes]
    assert max(decoded) == 1, "once stored, an entry is opened"
    assert [path.name for path in place.iterdir()] == [Noise().key]


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cats", "dogs")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(5):
            image = Image.new("L", (8, 6), 100 * label + number)
            image.save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def reads(monkeypatch):
    """The files that were decoded so far."""
    files, decode_files = [], image_files.decode_files

    def counting(paths, image_shape):
        files.extend(path.name for path in paths)
        return decode_files(paths, image_shape)

    monkeypatch.setattr(image_files, "decode_files", counting)
    return files


@pytest.mark.slow
def test_a_folder_is_decoded_once_for_all_splits_and_seeds(folder, reads):
    first = tfdefense.data.load(f"dir:{folder}")
    assert len(reads) == 10
    again = tfdefense.data.load(f"dir:{folder}")
    other = tfdefense.data.load(f"dir:{folder}", split_seed=1)
    assert len(reads) == 10
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert not np.array_equal(first.train.images, other.train.images)
    folder.rename(folder.with_name("moved"))
    tfdefense.data.load(f"dir:{folder.with_name('moved')}")
    assert len(reads) == 10, "the key has relative paths"


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda f: Image.new("L", (8, 6), 50).save(f / "cats" / "0.png"), {}),
        (lambda f: (f / "cats" / "0.png").rename(f / "cats" / "9.png"), {}),
        (lambda f: (f / "cats" / "0.png").rename(f / "dogs" / "9.png"), {}),
        (lambda f: None, {"image_size": (8, 8)}),
    ],
)
def test_changed_files_and_sizes_are_decoded_again(folder, reads, change, options):
    tfdefense.data.load(f"dir:{folder}")
    before = len(reads)
    change(folder)
    data = tfdefense.data.load(f"dir:{folder}", **options)
    assert len(reads) == before + 10
    found = sorted(
        round(255 * float(image.max()))
        for split in (data.train, data.validation, data.test)
        for image in split.images
    )
    expected = sorted(np.asarray(Image.open(path)).max() for path in folder.rglob("*.png"))
    assert found == expected


def test_a_file_rewritten_with_the_same_size_and_time_is_decoded_again(folder, reads):
    path = folder / "cats" / "0.bmp"
    Image.new("L", (8, 6), 1).save(path)
    tfdefense.data.load(f"dir:{folder}")
    before, status = len(reads), path.stat()
    Image.new("L", (8, 6), 2).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    tfdefense.data.load(f"dir:{folder}")
    assert len(reads) == before + 11


@pytest.mark.slow
def test_a_tfds_dataset_is_decoded_once(prepared, monkeypatch):
    splits, decode = [], TFDSImages.decode

    def counting(self):
        splits.append(self.split)
        return decode(self)

    monkeypatch.setattr(TFDSImages, "decode", counting)
    first = tfdefense.data.load("tiny", prepared)
    again = tfdefense.data.load("tiny", prepared)
    assert splits == ["train", "test"]
    for part in ("train", "validation", "test"):
        one, other = getattr(first, part), getattr(again, part)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    tfdefense.data.load("tiny", prepared, image_size=(4, 4))
    assert splits == ["train", "test"] * 2
