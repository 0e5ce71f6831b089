import dataclasses

import pytest

from tfdefense.defenses import DEFENSES
from tfdefense.errors import UserError
from tfdefense.utils.registry import Registry

REGISTRY = Registry("thing", {"apeganpp": "tfdefense.errors:UserError", "cgan": "nowhere:x"})


def test_gets_what_is_registered_and_imports_nothing_else():
    assert REGISTRY.get("apeganpp") is UserError


def test_unknown_name_offers_the_nearest_and_all():
    with pytest.raises(UserError, match=r"unknown thing 'apegan\+\+'.*mean 'apeganpp'.*cgan"):
        REGISTRY.get("apegan++")


def test_many_names_are_counted_not_listed():
    many = Registry("dataset", {f"name{i}": "nowhere:x" for i in range(500)})
    with pytest.raises(UserError) as error:
        many.get("nmae7")
    assert "500 are known" in str(error.value)
    assert len(str(error.value)) < 100


def test_every_registered_name_can_be_imported():
    import tfdefense

    for registry in (
        tfdefense.data.SOURCES,
        tfdefense.classifiers.CLASSIFIERS,
        tfdefense.attacks.ATTACKS,
        tfdefense.defenses.DEFENSES,
    ):
        for name in registry.names():
            assert registry.get(name) is not None


def test_hyperparameters_of_one_name_have_one_type():
    """They are one flag."""
    types = {}
    for name in DEFENSES.names():
        for field in dataclasses.fields(DEFENSES.get(name).Config):
            kind = str(field.type).replace(" | None", "").replace("<class '", "").replace("'>", "")
            assert types.setdefault(field.name, kind) == kind, field.name
