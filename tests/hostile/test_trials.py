"""Models that abort, never end or take all memory end in one line."""

import pytest

from tests.hostile.saved_models import rename_in_config, save_harmless_keras_file
from tfdefense.classifiers.custom.custom_model import load_custom_model
from tfdefense.errors import UserError


def test_a_model_that_takes_all_memory_is_one_line(digits, tmp_path):
    path = tmp_path / "large.keras"
    save_harmless_keras_file(path)
    rename_in_config(path, '"units": 10', '"units": 2000000000')
    with pytest.raises(UserError, match=r"large\.keras: needs more than 4\.0 GiB of memory"):
        load_custom_model(path, digits)
