"""`config.json`: what is written is read, and differences are phrased."""

import dataclasses
from pathlib import Path

import pytest

from tfdefense.errors import UserError, require
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig

CONFIG = StoredConfig("defense", {"seed": 0, "widths": (8, 16)}, {"steps": 3}, {"keras": "3.15"})


def test_what_is_written_is_read():
    read = StoredConfig.from_json(CONFIG.to_json(), Path("run/config.json"))
    assert read.kind == "defense"
    assert read.settings == {"seed": 0, "widths": [8, 16]}
    assert read.metadata == {"steps": 3}
    assert read.versions == {"keras": "3.15"}
    assert read.setting("widths", tuple[int, ...]) == (8, 16)
    assert read.setting("bits", int | None, None) is None
    assert read.metadata_value("steps", int) == 3


def test_a_classifier_of_version_0_2_has_the_settings_of_today():
    old = StoredConfig("classifier", {"seed": 0, "augmentation": "shift_flip"}, {}, {})
    read = StoredConfig.from_json(old.to_json(), Path("run/config.json"))
    assert read.settings == {"seed": 0, "augmentation": "shift", "mirror": True}


def test_keys_of_the_file():
    assert CONFIG.to_json() == (
        '{\n  "schema": 1,\n  "kind": "defense",\n  "settings": {\n    "seed": 0,\n    "widths": [\n'
        '      8,\n      16\n    ]\n  },\n  "surroundings": {\n    "steps": 3\n  },\n'
        '  "made_with": {\n    "keras": "3.15"\n  }\n}\n'
    )


@pytest.mark.parametrize("value", [float("inf"), (10.0, float("-inf"))])
def test_a_setting_that_json_cannot_express_is_refused_before_anything_is_written(tmp_path, value):
    config = StoredConfig("defense", {"lambda1": value}, {}, {})
    with pytest.raises(UserError, match=r"^--lambda1=.*inf.*: a finite number is needed\.$"):
        RunDirectory(tmp_path / "run").create_or_reuse(config)
    assert not (tmp_path / "run").exists()


def test_values_of_another_type_are_named_with_the_file():
    read = StoredConfig.from_json(CONFIG.to_json(), Path("run/config.json"))
    with pytest.raises(UserError) as error:
        read.setting("seed", str)
    assert str(error.value) == "run/config.json: settings.seed is 0; a string is needed."
    with pytest.raises(UserError) as error:
        read.metadata_value("data_dir", str | None)
    assert str(error.value) == (
        "run/config.json: surroundings.data_dir is missing; a string or null is needed."
    )


def test_differences_name_flags_with_the_value_of_the_run_and_the_new_one():
    stored = StoredConfig("defense", {"seed": 0, "draws": 10, "classifier_hash": "a" * 64})
    asked = StoredConfig(
        "defense",
        {"seed": 1, "draws": 20, "classifier_hash": "b" * 64, "widths": (8, 16)},
        flag_names={"draws": "estimation_samples"},
    )
    assert stored.differences(asked) == [
        "classifier hash aaaaaaaaaaaa (bbbbbbbbbbbb now)",
        "--estimation_samples=10 (20 now)",
        "--seed=0 (1 now)",
        "--widths not set (8,16 now)",
    ]
    assert stored.differences(asked, only=["seed"]) == ["--seed=0 (1 now)"]
    assert stored.differences(stored) == []
    assert StoredConfig("attack", {}).differences(StoredConfig("defense", {})) == [
        "kind attack (defense now)"
    ]


@dataclasses.dataclass(frozen=True)
class Sample:
    rate: float
    widths: tuple[int, ...] = (8,)
    bits: int | None = None
    names: str = (
        None  # As in sequences of defences, whose fields have other types than their defaults.
    )

    def __post_init__(self):
        require(self.rate > 0, f"--rate={self.rate}: more than 0 is needed.")


def test_a_dataclass_is_read_from_the_settings_with_the_names_of_its_fields():
    stored = StoredConfig("defense", {"rate": 1, "widths": [4, 2], "names": None, "other": "x"})
    assert stored.read_dataclass(Sample) == Sample(1, (4, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": "1"}, 'config.json: settings.rate is "1"; a number is needed.'),
        ({"rate": 1, "names": 3}, "config.json: settings.names is 3; a string or null is needed."),
        ({"rate": 0}, "config.json: --rate=0: more than 0 is needed."),
    ],
)
def test_a_dataclass_with_wrong_values_is_refused(settings, message):
    with pytest.raises(UserError) as error:
        StoredConfig("defense", settings).read_dataclass(Sample)
    assert str(error.value) == message
