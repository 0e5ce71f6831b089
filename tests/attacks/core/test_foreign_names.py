"""Names of the attacks of other libraries, compared with those that the libraries define."""

import importlib.util
import inspect
import pkgutil

import pytest

from tfdefense.attacks.core import foreign_names
from tfdefense.attacks.core.foreign_names import foreign_attack_names, require_attack_name
from tfdefense.errors import UserError


@pytest.mark.slow
def test_the_names_of_art_are_the_classes_of_its_module():
    evasion = pytest.importorskip("art.attacks.evasion", reason="tfdefense[art] is not installed")
    from art.attacks.attack import EvasionAttack

    classes = {name: kind for name, kind in vars(evasion).items() if inspect.isclass(kind)}
    attacks = {name for name, kind in classes.items() if issubclass(kind, EvasionAttack)}
    assert set(foreign_attack_names("art")) == attacks


@pytest.mark.slow
def test_the_names_of_foolbox_are_the_classes_of_its_module():
    foolbox = pytest.importorskip("foolbox", reason="tfdefense[foolbox] is not installed")
    classes = {name: kind for name, kind in vars(foolbox.attacks).items() if inspect.isclass(kind)}
    attacks = {
        name
        for name, kind in classes.items()
        if issubclass(kind, foolbox.attacks.Attack) and not inspect.isabstract(kind)
    }
    assert set(foreign_attack_names("foolbox")) == attacks


def test_the_names_of_cleverhans_are_its_modules():
    from cleverhans.tf2 import attacks

    modules = sorted(module.name for module in pkgutil.iter_modules(attacks.__path__))
    assert list(foreign_attack_names("cleverhans")) == modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (("cleverhans", "spsaa"), "unknown --attacks=cleverhans 'spsaa'. Did you mean 'spsa'?"),
        (("cleverhans", ""), "--attacks=cleverhans:: give the name of an attack, cleverhans:NAME."),
    ],
)
def test_a_wrong_name_is_refused(name, message):
    with pytest.raises(UserError) as caught:
        require_attack_name(*name)
    assert str(caught.value).startswith(message)


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(foreign_names, "find_package_folder", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"module art is not installed.*'\.\[art\]'"):
        require_attack_name("art", "DeepFool")
