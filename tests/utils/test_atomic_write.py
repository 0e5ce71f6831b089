import pytest

from tfdefense.utils.atomic_write import atomic_write, write_text_file


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "model.keras"
    with atomic_write(path) as partial:
        assert partial.suffix == ".keras"
        partial.write_text("complete")
        assert not path.exists()
    assert path.read_text() == "complete"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "report.md"
    write_text_file(path, "old")

    def interrupted_write():
        with atomic_write(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ü" * 125 + ".png", "x" * 255])
def test_the_longest_file_names_can_be_written(tmp_path, name):
    write_text_file(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
