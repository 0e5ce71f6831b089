"""Configs from flags: those of a command line, and those in the files of papers."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tfdefense.classifiers.resolve import require_known
from tfdefense.data.core.dataset import have_same_form
from tfdefense.defenses.core.generator_defense import select_values
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import require, unknown_name
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.config import DefenseConfig, ExperimentConfig, TrainingConfig
from tfdefense.experiments.inputs import (
    CLASSIFIER_FLAGS,
    DATA_FLAGS,
    ClassifierSelection,
    DataConfig,
    InputDirectory,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Section = TypeVar("Section", bound="DataclassInstance")


def experiment_from_flags(
    given: Mapping[str, Any],
    stored: ExperimentConfig | None = None,
    evaluation: EvaluationConfig | None = None,
) -> ExperimentConfig:
    """Return the experiment that flags ask for.

    Args:
      given: flag name -> value of the flags of data, classifier, defence and training that were given.
        `recipe` names values of the defence for flags that were not given. With another `generator`
        than that of the recipe, values that it does not have are left out.
      stored: config of the run that is resumed; its values are used for flags that are not given.
        `--classifier` also replaces what the run says of the old one, and so does `--dataset`,
        unless it has the same form, such as dir:PATH.
      evaluation: how to evaluate.

    Raises:
      UserError: no defence, a flag or recipe that it does not have, or a value that it does not take.
    """
    name = given.get("defense", stored.defense.defense if stored else None)
    require(name is not None, f"--defense: none given. Known: {', '.join(DEFENSES.names())}.")
    if stored is None or stored.defense.defense != name:
        stored_defense, stored_training = DefenseConfig(name), TrainingConfig()
    else:
        stored_defense, stored_training = stored.defense, stored.training or TrainingConfig()
    given = _with_recipe(stored_defense, given)
    _require_flags_of(stored_defense, given)
    hyperparameters = _replaced(stored_defense.hyperparameters, given)
    return ExperimentConfig(
        DefenseConfig(name, hyperparameters, given.get("seed", stored_defense.seed)),
        data_from_flags(given, stored.data if stored else None),
        classifier_from_flags(given, stored.classifier if stored else None),
        _training_from_flags(given, stored_training) if stored_defense.learned_class else None,
        evaluation,
    )


def classifier_experiment_from_flags(
    given: Mapping[str, Any], stored: ClassifierExperiment | None = None
) -> ClassifierExperiment:
    """Return the training of a classifier that flags ask for; arguments as in `experiment_from_flags`.

    Raises:
      UserError: a flag that a classifier does not have, or a value that it does not take.
    """
    require(
        stored is not None or "classifier" in given,
        "--classifier: none given. Name the one to train; --overwrite keeps nothing of the old run.",
    )
    if "classifier" in given:
        require_known(given["classifier"])
    base = stored or ClassifierExperiment(given["classifier"])
    options = _names(base.training)
    for name in given:
        require(
            name in options | {"classifier", "seed", *DATA_FLAGS},
            f"--{name}: not a setting of a classifier, which has {', '.join(sorted(options))}."
            " (To train a defence: --defense=NAME.)",
        )
    return ClassifierExperiment(
        given.get("classifier", base.classifier),
        data_from_flags(given, base.data),
        given.get("seed", base.seed),
        _replaced(base.training, given),
    )


def data_from_flags(given: Mapping[str, Any], stored: DataConfig | None = None) -> DataConfig:
    """Return the images that flags ask for; those of `stored` if no other dataset is given.

    Another path may name the same images, so the other values of `stored` are kept for it.
    """
    base = stored or DataConfig()
    if not have_same_form(given.get("dataset", base.dataset), base.dataset):
        base = DataConfig()
    return _replaced(base, given)


def classifier_from_flags(
    given: Mapping[str, Any], stored: ClassifierSelection | None = None
) -> ClassifierSelection:
    """Return the classifier that flags ask for; that of `stored` if no classifier is given.

    Raises:
      UserError: neither a registered name nor a path, or a value that it does not take.
    """
    if "classifier" in given:
        require_known(given["classifier"])
    base = stored if stored is not None and "classifier" not in given else ClassifierSelection()
    return _replaced(base, given)


def _training_from_flags(given: Mapping[str, Any], stored: TrainingConfig) -> TrainingConfig:
    directories: dict[str, Any] = {}
    if given.get("pairs"):
        directories["pairs"] = tuple(map(InputDirectory, given["pairs"]))
    if given.get("init_run"):
        directories["init_run"] = InputDirectory(given["init_run"])
    others = {name: value for name, value in given.items() if name not in ("pairs", "init_run")}
    return _replaced(stored, {**others, **directories})


def _with_recipe(defense: DefenseConfig, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the given flags without `recipe`, and those that it stands for."""
    if "recipe" not in given:
        return given
    recipe, recipes = given["recipe"], defense.defense_class.recipes
    require(
        bool(recipes),
        f"--recipe={recipe}: --defense={defense.defense} has no recipes. Leave it out.",
    )
    if recipe not in recipes:
        raise unknown_name("--recipe", recipe, recipes)
    values = recipes[recipe]
    if "generator" in given:
        values = select_values(values, given["generator"])
    return {**values, **{flag: given[flag] for flag in given if flag != "recipe"}}


def _require_flags_of(defense: DefenseConfig, given: Mapping[str, Any]) -> None:
    """Raise `UserError` for a flag that has no effect on this defence."""
    name, own = defense.defense, _names(defense.hyperparameters)
    common = {"defense", "seed", *DATA_FLAGS, *CLASSIFIER_FLAGS}
    if defense.learned_class is not None:
        common |= _names(TrainingConfig())
        require(
            not (given.get("pairs") and given.get("strengths")),
            "--strengths: with --pairs a defence learns from the stored images alone. Leave one of"
            " them out.",
        )
    else:
        pairs, init_run = bool(given.get("pairs")), bool(given.get("init_run"))
        require(not pairs, f"--pairs: --defense={name} does not learn, so it uses no pairs.")
        require(not init_run, f"--init_run: --defense={name} does not learn.")
    for flag in given:
        require(
            flag in own | common,
            f"--{flag}: not a setting of --defense={name}, which has {', '.join(sorted(own))}.",
        )


def _replaced(section: Section, given: Mapping[str, Any]) -> Section:
    """Return a frozen dataclass with the fields that are given."""
    names = _names(section)
    changes = {name: value for name, value in given.items() if name in names}
    return dataclasses.replace(section, **changes) if changes else section


def _names(section: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(section)}
