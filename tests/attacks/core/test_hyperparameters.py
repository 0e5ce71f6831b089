import dataclasses

from tfdefense.attacks import ATTACKS
from tfdefense.attacks.core.hyperparameters import list_hyperparameters


def test_every_hyperparameter_is_described_by_its_docstring():
    found = {option.name: option for option in list_hyperparameters()}
    for name in ATTACKS.names():
        for field in dataclasses.fields(ATTACKS.get(name)):
            assert len(found[field.name].help) > 10, (name, field.name)
            assert found[field.name].defaults[name] == field.default


def test_help_is_one_line_of_the_right_entry():
    found = {option.name: option.help for option in list_hyperparameters()}
    assert found["overshoot"].startswith("how far beyond the boundary")
    assert "\n" not in found["box"]
    assert found["alpha_max"] == found["beta"]
