"""`ExperimentConfig`: from flags, to the settings of `config.json`, and back."""

import dataclasses
import json
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.from_flags import (
    classifier_experiment_from_flags,
    experiment_from_flags,
)
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig, InputDirectory
from tfdefense.experiments.plan import plan_training
from tfdefense.networks.generator_factory import GENERATORS
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig

LEARNED = [name for name in DEFENSES.names() if DefenseConfig(name).learned_class]
SEQUENCES = ["magnet+bit_depth+apeganpp", "bit_depth+spatial_smoothing"]
CANDIDATES = {
    int: [0, 1, 2, 3, 8, 128],
    float: [0.0, 0.1, 0.5, 0.999, 1.0, 10.0],
    str: [
        "unet",
        "small_unet",
        "constant",
        "cosine",
        "fgsm",
        "fast",
        "l2",
        "blocks",
        "none",
        "shift",
    ],
    bool: [False, True],
}
# Older versions had no such settings, so the defaults are not stored.
NOT_STORED = [("split_seed", 0)]


def is_omitted(config, flag):
    """Return whether a hyperparameter has a default that is not stored."""
    hyperparameters = config.defense.hyperparameters
    fields = {field.name: field for field in dataclasses.fields(hyperparameters)}
    omits = flag in fields and fields[flag].metadata.get("omit_default", False)
    return omits and getattr(hyperparameters, flag) == fields[flag].default


def read_back(config):
    """Return a config as another process reads it from `config.json`."""
    text = StoredConfig("defense", config.to_settings()).to_json()
    return ExperimentConfig.from_stored(StoredConfig.from_json(text, Path("run/config.json")))


def values_of(annotation):
    """Return a strategy for the values of a hyperparameter, some of them out of its range."""
    kinds = [
        kind for kind in typing.get_args(annotation) or (annotation,) if kind is not type(None)
    ]
    if typing.get_origin(kinds[0]) is tuple:
        kinds = typing.get_args(kinds[0])[:1]
        return st.lists(st.sampled_from(CANDIDATES[kinds[0]]), max_size=4).map(tuple)
    if typing.get_origin(annotation) is tuple:
        return st.lists(st.sampled_from(CANDIDATES[kinds[0]]), max_size=4).map(tuple)
    return st.sampled_from(CANDIDATES[kinds[0]])


def flags_of(name):
    """Return a strategy for flags of a defence, as the command line parses them."""
    defense = DefenseConfig(name)
    fields = dataclasses.fields(defense.hyperparameters)
    flags = {field.name: values_of(field.type) for field in fields}
    flags |= {"seed": st.integers(0, 9), "split_seed": st.integers(0, 9)}
    if defense.learned_class is not None:
        flags |= {
            "batch_size": st.sampled_from([1, 32]),
            "train_images": st.sampled_from([1, 500]),
            "mixed_precision": st.sampled_from(["float32", "bfloat16"]),
        }
    return st.sets(st.sampled_from(sorted(flags)), max_size=4).flatmap(
        lambda names: st.fixed_dictionaries({name: flags[name] for name in sorted(names)})
    )


@pytest.mark.parametrize("name", [*DEFENSES.names(), *SEQUENCES])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_flags_settings_and_config_hold_the_same(name, data):
    flags = {"defense": name, "classifier": "lenet", **data.draw(flags_of(name))}
    if DefenseConfig(name).learned_class is not None:
        flags["epochs"] = 3
        flags.setdefault("batch_size", 32)  # The default depends on the images.
    try:
        config = experiment_from_flags(flags)
    except UserError:
        reject()
    stored = config.to_settings()
    for flag, value in flags.items():
        if flag not in stored:
            assert (flag, value) in NOT_STORED or is_omitted(config, flag)
        else:
            assert stored[flag] == value
    assert read_back(config) == config
    assert experiment_from_flags({}, config) == config
    assert read_back(config).to_settings() == stored


CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("settings_of_schema_1.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case["given"].values())))
def test_settings_of_schema_1_stay_as_they_are(case, tmp_path):
    """The cases were written by version 0.1.0. The order of the keys counts too."""
    rng = np.random.default_rng(0)
    images = (rng.random((120, 8, 8, 3)) * 255).astype(np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=np.arange(120) % 4)
    source = case["given"].get("dataset", "").removeprefix("npz:")
    text = json.dumps(case).replace("SMALL", str(tmp_path / "small.npz"))
    case = json.loads(text)
    flags = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in case["given"].items()
    }
    for length in ("epochs", "batch_size"):  # Their defaults may change from version to version.
        # New trainings may not be given a batch of more images than there are.
        if length in case["settings"] and ("SMALL", length) != (source, "batch_size"):
            flags.setdefault(length, case["settings"][length])
    plan = plan_training(experiment_from_flags(flags))
    assert plan.run.path == Path("runs") / case["run"]
    stored = json.loads(plan.to_stored().to_json())
    assert list(stored) == ["schema", "kind", "settings", "surroundings", "made_with"]
    assert json.dumps(stored["settings"]) == json.dumps(case["settings"])
    assert stored["surroundings"]["steps"] == case["steps"]
    assert not (tmp_path / "runs").exists()


APEGAN = """{
  "schema": 1,
  "kind": "defense",
  "settings": {
    "defense": "apegan", "dataset": "digits", "classifier": "mnist_cnn", "train_images": 256,
    "epochs": 1, "batch_size": 128, "mixed_precision": "float32", "seed": 0,
    "generator": "encoder_decoder", "levels": null, "widths": [32, 64, 128], "thresholds": 0,
    "average": 0.0, "strengths": null, "mse_weight": 0.7, "adversarial_weight": 0.3,
    "learning_rate": 0.0002, "schedule": "constant"
  },
  "surroundings": {
    "pairs": [], "data_dir": null, "class_names": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    "steps": 2, "init_run": null, "classifier_path": null
  },
  "made_with": {"tfdefense": "0.1.0", "python": "3.11.7", "tensorflow": "2.21.0"}
}
"""


def test_a_run_of_version_0_1_opens(tmp_path):
    (tmp_path / "config.json").write_text(APEGAN)
    stored = RunDirectory(tmp_path).read_config()
    assert stored.versions["tfdefense"] == "0.1.0"
    config = ExperimentConfig.from_stored(stored)
    assert config == ExperimentConfig(
        DefenseConfig("apegan"),
        classifier=ClassifierSelection("mnist_cnn"),
        training=TrainingConfig(epochs=1, batch_size=128, train_images=256),
    )
    assert json.dumps(config.to_settings()) == json.dumps(json.loads(APEGAN)["settings"])


def test_hyperparameters_that_an_older_version_did_not_store_have_their_defaults(tmp_path):
    content = json.loads(APEGAN)
    del content["settings"]["thresholds"], content["settings"]["mixed_precision"]
    stored = StoredConfig.from_json(json.dumps(content), tmp_path)
    assert ExperimentConfig.from_stored(stored).defense.hyperparameters.thresholds == 0


def test_inputs_of_a_run_are_found_by_their_paths():
    config = ExperimentConfig(
        DefenseConfig("apegan", seed=3),
        DataConfig("npz:/data/small.npz", (12, 10), 5),
        ClassifierSelection("toy.keras", "abc", input_range=(0.0, 255.0), path="/models/toy.keras"),
        TrainingConfig(
            2,
            128,
            init_run=InputDirectory("/runs/first", "apegan-0123"),
            pairs=(InputDirectory("/adv/bim", "bim-4567"),),
        ),
    )
    paths = {
        "classifier_path": "/models/toy.keras",
        "init_run": "/runs/first",
        "pairs": ["/adv/bim"],
    }
    text = StoredConfig("defense", config.to_settings(), paths).to_json()
    assert ExperimentConfig.from_stored(StoredConfig.from_json(text, Path("x"))) == config
    assert config.to_settings()["pairs"] == ["bim-4567"]
    assert config.to_settings()["init_run"] == "apegan-0123"
    assert [*config.to_settings()][:9] == [
        *("pairs", "defense", "dataset", "image_size", "split_seed"),
        *("classifier", "classifier_hash", "input_range", "init_run"),
    ]


def test_flags_replace_the_values_of_a_resumed_run():
    stored = ExperimentConfig(
        DefenseConfig("apegan", seed=3),
        DataConfig("npz:x.npz", (12, 10), 5),
        ClassifierSelection("toy.keras", "abc", input_range=(0.0, 255.0), path="/toy.keras"),
        TrainingConfig(2, 32, pairs=(InputDirectory("/adv/bim", "bim-4567"),)),
    )
    evaluation = EvaluationConfig(images=5)
    changed = experiment_from_flags({"epochs": 4, "mse_weight": 0.1}, stored, evaluation)
    assert changed.evaluation == evaluation
    assert changed.training == dataclasses.replace(stored.training, epochs=4)
    assert changed.defense.hyperparameters.mse_weight == 0.1
    assert changed.defense.seed == 3
    assert (changed.data, changed.classifier) == (stored.data, stored.classifier)
    # What the run says of its dataset and classifier is not true of others.
    other = experiment_from_flags({"dataset": "digits", "classifier": "lenet"}, stored)
    assert other.data == DataConfig("digits")
    assert other.classifier == ClassifierSelection("lenet")
    pairs = experiment_from_flags({"pairs": ["a", "b"], "init_run": "c"}, stored).training
    assert [each.path for each in pairs.pairs] == ["a", "b"]
    assert pairs.init_run == InputDirectory("c")


WEIGHTED = {"defense": "apegan", "pairs": ["a", "b"], "epochs": 2, "batch_size": 8}


def test_weights_of_pairs_are_stored_and_read_back():
    config = experiment_from_flags({**WEIGHTED, "pair_weights": (2.0, 1.0), "classifier": "lenet"})
    settings = config.to_settings()
    assert settings["pair_weights"] == [2.0, 1.0]
    paths = {"pairs": ["a", "b"]}
    text = StoredConfig("defense", settings, paths).to_json()
    stored = ExperimentConfig.from_stored(StoredConfig.from_json(text, Path("x")))
    assert stored.training.pair_weights == (2.0, 1.0)
    assert experiment_from_flags({}, stored).to_settings() == settings
    changed = experiment_from_flags({"pair_weights": (1.0, 3.0)}, stored)
    assert changed.to_settings()["pair_weights"] == [1.0, 3.0]
    with pytest.raises(UserError, match="2 weights for the 3 directories"):
        experiment_from_flags({"pairs": ["a", "b", "c"]}, stored)


def test_a_run_without_the_paths_of_its_pairs_opens_without_weights():
    flags = {**WEIGHTED, "pair_weights": (2.0, 1.0), "classifier": "lenet"}
    assert read_back(experiment_from_flags(flags)).training.pair_weights is None


@pytest.mark.parametrize("given", [{}, {"pair_weights": (1.0, 1.0)}, {"pair_weights": (0.3, 0.3)}])
def test_equal_weights_of_pairs_are_not_stored(given):
    config = experiment_from_flags({**WEIGHTED, **given})
    assert config == experiment_from_flags(WEIGHTED)
    assert "pair_weights" not in config.to_settings() | config.training.to_settings()


def test_a_recipe_gives_values_to_flags_that_are_not_given():
    flags = {"defense": "robust_purifier", "recipe": "color", "blocks": (0, 2, 2, 1)}
    config = experiment_from_flags({**flags, "epochs": 3, "batch_size": 64})
    assert (config.training.epochs, config.defense.hyperparameters.blocks) == (3, (0, 2, 2, 1))
    assert config.defense.hyperparameters.inner_attack == "nfgsm"
    assert experiment_from_flags(flags).training.epochs == 16
    assert config.to_settings().keys() & {"recipe", "inner_noise"} == {"inner_noise"}
    assert experiment_from_flags({**flags, "epochs": 3, "batch_size": 64}, config) == config


@pytest.mark.parametrize("name", ["robust_purifier", "denoised_smoothing"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_recipe_leaves_out_what_another_generator_does_not_have(name, generator):
    config = experiment_from_flags({"defense": name, "recipe": "color", "generator": generator})
    found, defaults = config.defense.hyperparameters, DefenseConfig(name).hyperparameters
    assert (found.generator, found.schedule) == (generator, "triangle")
    has_widths = generator in ("small_unet", "residual_unet")
    assert found.widths == ((32, 64, 128, 128) if has_widths else defaults.widths)
    assert found.blocks == ((0, 2, 1, 1) if generator == "residual_unet" else None)


@pytest.mark.parametrize("name", LEARNED)
def test_every_recipe_has_only_flags_of_its_defence(name):
    for recipe in DEFENSES.get(name).recipes:
        experiment_from_flags({"defense": name, "recipe": recipe})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"defense": "apegan", "recipe": "color"},
            "--recipe=color: --defense=apegan has no recipes",
        ),
        ({"defense": "bit_depth", "recipe": "color"}, "--defense=bit_depth has no recipes"),
        (
            {"defense": "robust_purifier", "recipe": "colour"},
            "unknown --recipe 'colour'. Did you mean 'color'",
        ),
        ({}, "--defense: none given. Known: adversarial_training,"),
        ({"defense": "apegam"}, "unknown defense 'apegam'. Did you mean 'apegan'"),
        ({"defense": "bit_depth", "epochs": 3}, "--epochs: not a setting of --defense=bit_depth"),
        ({"defense": "bit_depth", "pairs": ["x"]}, "--pairs: --defense=bit_depth does not learn"),
        (
            {"defense": "bit_depth", "init_run": "x"},
            "--init_run: --defense=bit_depth does not learn",
        ),
        ({"defense": "bit_depth", "bits": 9}, "--bits=9: 1 to 8"),
        ({"defense": "bit_depth", "seed": -1}, "--seed=-1: 0 or more"),
        ({"defense": "apegan", "epochs": 0}, "--epochs=0: at least 1"),
        (
            {"defense": "apegan", "pair_weights": (2.0, 1.0)},
            "--pair_weights=2,1: only with --pairs",
        ),
        (
            {"defense": "bit_depth", "pair_weights": (2.0, 1.0)},
            "--pair_weights: not a setting of --defense=bit_depth",
        ),
        ({"defense": "apegan", "batch_size": 0}, "--batch_size=0: at least 1"),
        ({"defense": "apegan", "mixed_precision": "float16"}, "--mixed_precision 'float16'"),
        ({"defense": "apegan", "split_seed": -1}, "--split_seed=-1: 0 or more"),
        ({"defense": "apegan", "image_size": (2, 2)}, "--image_size=2x2: sides from 4 to 1024"),
        ({"defense": "apegan", "input_range": (255.0, 0.0)}, "--input_range=255,0: two numbers"),
        (
            {"defense": "apegan", "window": 3},
            "--window: not a setting of --defense=apegan, which has",
        ),
    ],
)
def test_unsuitable_flags_are_named_before_anything_is_loaded(flags, message):
    with pytest.raises(UserError) as error:
        experiment_from_flags(flags)
    assert message in str(error.value)


def test_a_config_made_in_python_is_checked():
    with pytest.raises(
        UserError, match="BitDepthConfig given; --defense=apegan needs APEGANConfig"
    ):
        DefenseConfig("apegan", DefenseConfig("bit_depth").hyperparameters)
    with pytest.raises(UserError, match="--eot_draws=3: bit_depth draws no random numbers"):
        ExperimentConfig(DefenseConfig("bit_depth"), evaluation=EvaluationConfig(eot_draws=3))
    with pytest.raises(UserError, match="training: given; --defense=bit_depth does not learn"):
        ExperimentConfig(DefenseConfig("bit_depth"), training=TrainingConfig())
    assert ExperimentConfig(DefenseConfig("apegan")).training == TrainingConfig()


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_a_classifier_experiment_is_read_back(name):
    flags = {"classifier": name, "dataset": "mnist", "seed": 2, "epochs": 3, "optimizer": "sgd"}
    experiment = classifier_experiment_from_flags(flags)
    recorded = {**flags, "batch_size": 64, "patience": 4, "mixed_precision": "float32"}
    read = ClassifierExperiment.from_stored(StoredConfig("classifier", recorded))
    assert classifier_experiment_from_flags({"batch_size": 64, "patience": 4}, experiment) == read
    with pytest.raises(UserError, match="--lambda1: not a setting of a classifier"):
        classifier_experiment_from_flags({"classifier": name, "lambda1": 1.0})


def test_preset_signature_and_output_of_a_classifier_are_restored(tmp_path):
    selection = ClassifierSelection(
        "theirs",
        "abc",
        input_preset="caffe",
        signature="images",
        output_name="probs",
        path="/theirs",
    )
    config = ExperimentConfig(
        DefenseConfig("apegan"), DataConfig(), selection, TrainingConfig(2, 128)
    )
    settings = config.to_settings()
    assert (settings["input_preset"], settings["signature"]) == ("caffe", "images")
    text = StoredConfig("defense", settings, {"classifier_path": "/theirs"}).to_json()
    assert ExperimentConfig.from_stored(StoredConfig.from_json(text, tmp_path)) == config
