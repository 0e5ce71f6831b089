"""Directories of versions in which no version can be written."""

import pytest

from tfdefense.errors import UserError
from tfdefense.serving.exporter.output_directory import version_directory


@pytest.mark.parametrize("version", [0, -1, 2**63, True, 1.0, "1"])
def test_a_version_is_an_int64_above_0(tmp_path, version):
    with pytest.raises(UserError, match=f"--version={version}: a number from 1 to {2**63 - 1} is"):
        version_directory(tmp_path, version, "saved_model")


def test_the_largest_version_is_allowed_once(tmp_path):
    largest = version_directory(tmp_path, 2**63 - 1, "saved_model")
    largest.mkdir()
    with pytest.raises(UserError, match="has the version 9223372036854775807, the largest"):
        version_directory(tmp_path, None, "saved_model")


def test_a_name_that_tensorflow_cannot_open_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--output=.*: not UTF-8, and TensorFlow opens no other"):
        version_directory(tmp_path / "m\udcfc", None, "saved_model")


@pytest.mark.parametrize("target", ["elsewhere", "missing", "loop"])
def test_a_link_in_place_of_the_directory_is_refused(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    output = tmp_path / "loop"
    output.symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=r"loop: is a symbolic link\. Give the directory") as error:
        version_directory(output, None, "saved_model")
    assert str(error.value).endswith(f"--output={tmp_path / target}")


@pytest.mark.parametrize("name", ["3", "latest", ".tfdefense-export-abcd_123"])
def test_a_link_in_the_directory_is_refused(tmp_path, name):
    (tmp_path / "1").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "1")
    with pytest.raises(UserError, match=f"{name} is a symbolic link to another place. Remove it"):
        version_directory(tmp_path, None, "saved_model")


def test_a_link_on_the_way_to_the_directory_is_accepted(tmp_path):
    """On some systems, /tmp is such a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    output = tmp_path / "link" / "new" / "model"
    assert version_directory(output, None, "saved_model") == output / "1"
