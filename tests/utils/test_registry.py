import dataclasses
import importlib
import inspect

import pytest

import tfdefense
from tfdefense.attacks import ATTACKS
from tfdefense.attacks.core.attack import Attack
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.data import SOURCES
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError
from tfdefense.utils.registry import Registry

REGISTRY = Registry("thing", {"apeganpp": "tfdefense.errors:UserError", "cgan": "nowhere:x"})
REGISTRIES = {"attack": ATTACKS, "classifier": CLASSIFIERS, "dataset": SOURCES, "defense": DEFENSES}


def test_get_returns_the_entry_and_imports_no_other():
    assert REGISTRY.get("apeganpp") is UserError


def test_an_unknown_name_raises_an_error_with_the_nearest_and_all_names():
    with pytest.raises(UserError, match=r"unknown thing 'apegan\+\+'.*mean 'apeganpp'.*cgan"):
        REGISTRY.get("apegan++")


def test_many_names_are_counted_not_listed():
    many = Registry("dataset", {f"name{i}": "nowhere:x" for i in range(500)})
    with pytest.raises(UserError) as error:
        many.get("nmae7")
    assert "500 are known" in str(error.value)
    assert len(str(error.value)) < 100


def test_the_summary_is_the_entrys_own_and_not_that_of_its_base_class(monkeypatch):
    class Base:
        """A base class."""

        summary = "the base class"

    class Derived(Base):
        """A class of its own.

        With more text.
        """

    module = importlib.import_module("tfdefense.errors")
    monkeypatch.setattr(module, "Base", Base, raising=False)
    monkeypatch.setattr(module, "Derived", Derived, raising=False)
    registry = Registry("x", {"b": "tfdefense.errors:Base", "d": "tfdefense.errors:Derived"})
    assert registry.summary("b") == "the base class"
    assert registry.summary("d") == "A class of its own"


@pytest.mark.parametrize("name", ATTACKS.names())
def test_an_attack_is_a_frozen_dataclass_with_the_registered_name(name):
    attack = ATTACKS.get(name)
    assert issubclass(attack, Attack)
    assert not inspect.isabstract(attack)
    assert attack.name == name
    assert getattr(tfdefense.attacks, attack.__name__) is attack
    assert attack.__dataclass_params__.frozen


@pytest.mark.parametrize("name", DEFENSES.names())
def test_a_defense_is_a_class_with_the_registered_name_and_a_frozen_config(name):
    defense = DEFENSES.get(name)
    assert issubclass(defense, Defense)
    assert not inspect.isabstract(defense)
    assert defense.name == name
    assert getattr(tfdefense.defenses, defense.__name__) is defense
    assert defense.config_type.__dataclass_params__.frozen


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_a_classifier_is_an_architecture_with_the_registered_name(name):
    architecture = CLASSIFIERS.get(name)
    assert isinstance(architecture, Architecture)
    assert architecture.name == name
    assert list(inspect.signature(architecture.build).parameters)[:2] == [
        "image_shape",
        "num_classes",
    ]


@pytest.mark.parametrize("name", SOURCES.names())
def test_a_data_source_is_a_function_of_a_name_and_options(name):
    load = SOURCES.get(name)
    assert inspect.isfunction(load)
    assert f"{load.__module__}:{load.__name__}" == SOURCES.entries[name]
    assert list(inspect.signature(load).parameters) == ["name", "options"]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_entry_has_a_summary_line_of_its_own(kind):
    """`bin/train --list` prints these lines."""
    registry = REGISTRIES[kind]
    assert registry.kind == kind
    summaries = {name: registry.summary(name) for name in registry.names()}
    for name, summary in summaries.items():
        assert len(summary.split()) >= 3, name
        assert "\n" not in summary, name
        assert not summary.endswith("."), name
        assert "TODO" not in summary, name
    assert len(set(summaries.values())) == len(summaries), summaries


def test_hyperparameters_of_one_name_have_one_type():
    """They share one command-line flag."""
    types = {}
    for name in DEFENSES.names():
        for field in dataclasses.fields(DEFENSES.get(name).config_type):
            kind = str(field.type).replace(" | None", "").replace("<class '", "").replace("'>", "")
            assert types.setdefault(field.name, kind) == kind, field.name
