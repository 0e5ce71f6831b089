import hashlib

import numpy as np

from tfdefense.utils.hashing import hash_parts, hash_path


def test_an_array_is_hashed_with_its_dtype_and_shape():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = hashlib.blake2b(b"float32(2, 3)" + array.tobytes(), digest_size=16).hexdigest()
    assert hash_parts([array]) == expected
    assert hash_parts([np.asfortranarray(array)]) == expected
    assert hash_parts([array.reshape(3, 2)]) != expected
    assert hash_parts([array.view(np.int32)]) != expected


def test_bytes_are_hashed_as_they_are():
    """Keys of stored results depend on this value."""
    assert hash_parts([b"ab", b"c"]) == "cf4ab791c62b8d2b2109c90275287816"
    assert hash_parts([b"abc"]) == "cf4ab791c62b8d2b2109c90275287816"


def test_arrays_without_entries_and_scalars_have_hashes():
    empty, scalar = np.zeros((0, 3)), np.float32(2.0)[np.newaxis][0]
    assert len({hash_parts([empty]), hash_parts([np.asarray(scalar)]), hash_parts([])}) == 3


def test_a_directory_is_hashed_with_names_and_contents(tmp_path):
    (tmp_path / "model" / "inner").mkdir(parents=True)
    (tmp_path / "model" / "a").write_bytes(b"1")
    (tmp_path / "model" / "inner" / "b").write_bytes(b"2")
    before = hash_path(tmp_path / "model")
    assert before == hash_parts([b"a", b"1", b"b", b"2"])
    assert hash_path(tmp_path / "model" / "a") == hash_parts([b"a", b"1"])
    (tmp_path / "model" / "inner" / "b").write_bytes(b"3")
    assert hash_path(tmp_path / "model") != before
