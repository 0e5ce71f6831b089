"""Archives are checked by their headers, before anything is loaded."""

import zipfile

import numpy as np
import pytest

from tfdefense.utils.npz_archive import NpzArchive, write_npz


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        path = tmp_path / "file.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_headers_and_arrays_are_those_of_the_file(write):
    with NpzArchive(
        write(numbers=np.arange(6).reshape(2, 3), **{"a/b": np.array("text")})
    ) as archive:
        assert archive.headers["numbers"] == ((2, 3), np.dtype(np.int64))
        np.testing.assert_array_equal(archive.read("numbers"), [[0, 1, 2], [3, 4, 5]])
        assert str(archive.read("a/b")) == "text"
        with pytest.raises(KeyError):
            archive.read("other")


def test_objects_are_refused(write):
    with pytest.raises(ValueError, match=r"^numbers holds Python objects$"):
        NpzArchive(write(numbers=np.array([None, 1], object)))


def test_a_header_of_more_numbers_than_there_are_is_refused(tmp_path):
    path = tmp_path / "file.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**15,)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("huge.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"^huge is damaged$"):
        NpzArchive(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^damaged$"):
        NpzArchive(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numbers.npy", b"not an array")
    with pytest.raises(ValueError, match=r"^numbers is not an array$"):
        NpzArchive(path)


def test_changed_bytes_are_noticed(write):
    path = write(numbers=np.zeros(1000))
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    with NpzArchive(path) as archive, pytest.raises(ValueError, match=r"^numbers is damaged$"):
        archive.read("numbers")


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
)
def test_arrays_of_any_name_are_written(tmp_path, compression):
    names = ("file", "allow_pickle", "a/b")
    arrays = {name: np.full((3, 4), number) for number, name in enumerate(names)}
    write_npz(tmp_path / "file.npz", arrays, compression)
    with np.load(tmp_path / "file.npz") as archive:
        assert set(archive.files) == set(names)
        for name, expected in arrays.items():
            np.testing.assert_array_equal(archive[name], expected)


def test_the_same_arrays_give_the_same_bytes(tmp_path, monkeypatch):
    for name, seconds in (("first.npz", 0.0), ("second.npz", 1e9)):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        write_npz(tmp_path / name, {"a": np.arange(5)}, zipfile.ZIP_BZIP2)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
