"""The Python of README and of the guides runs."""

import ast
import importlib
import sys
import types
from unittest.mock import MagicMock

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.docs.markdown import ROOT, blocks
from tests.one_check import use_one_check
from tfdefense.data import DataOptions
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.registry import DEFENSES
from tfdefense.evaluation.checks.registry import CHECKS


def python_of(page):
    """Return the Python blocks of a page, by its path in the repository."""
    return [block.text for block in blocks(ROOT / page) if block.language == "python"]


def test_the_site_starts_with_the_readmes_python():
    assert python_of("README.md") == python_of("docs/index.md")


@pytest.fixture
def small_classifier(digits, tmp_path, monkeypatch):
    """A linear classifier of the digits in a file of the working directory."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input(digits.image_shape), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(digits.train.images, digits.train.labels, epochs=5, verbose=0)
    model.save("small.keras")
    return "small.keras"


@pytest.mark.slow
def test_the_readmes_python_runs(small_classifier, tmp_path, capsys, monkeypatch):
    use_one_check(monkeypatch)
    (code,) = python_of("README.md")
    for long, short in (
        ('"mnist_cnn"', f'"{small_classifier}"'),
        ("data.train, epochs=20", "data.train.take(256), epochs=1"),
        ("data.test)", "data.test.take(20))"),
    ):
        assert code.count(long) == 1
        code = code.replace(long, short)
    exec(code, {})
    assert "clean test images are classified correctly" in capsys.readouterr().out
    assert (tmp_path / "export" / "1" / "saved_model.pb").is_file()


def module_of(page):
    """Run the Python of a page as a module of its own."""
    module = types.ModuleType("from_a_guide")
    sys.modules[module.__name__] = module  # Dataclasses look for their module.
    exec(python_of(page)[0], module.__dict__)
    return module


def test_the_guides_attack_runs(toy_model, toy_images):
    attack = module_of("docs/guides/add/attack.md").RandomStepFGSM(epsilon=0.1)
    result = attack.run(toy_model, toy_images, np.argmax(toy_model(toy_images), axis=1))
    assert 0.09 < np.max(result.linf) <= 0.1 + 1e-6
    cost = attack.largest_cost(toy_images.shape[1:], 3)
    assert np.all(result.gradients == cost.gradients)
    assert np.all(result.queries == cost.predictions)


def test_the_guides_defense_purifies(toy_model, toy_images):
    defense = module_of("docs/guides/add/defense.md").MeanFilter(toy_model, side=3)
    purified = defense.purify(tf.constant(toy_images))
    np.testing.assert_allclose(
        purified[:, 5, 5], toy_images[:, 4:7, 4:7].mean((1, 2)), rtol=1e-5, atol=1e-6
    )


def test_the_guides_classifier_builds():
    architecture = module_of("docs/guides/add/classifier.md").MLP
    assert architecture.build((12, 12, 1), 3).output_shape == (None, 3)


def test_the_guides_dataset_loads():
    data = module_of("docs/guides/add/dataset.md").load_stripes("stripes", DataOptions())
    assert [len(data.train), len(data.validation), len(data.test)] == [800, 100, 100]
    assert data.image_shape == (16, 16, 1)


@pytest.mark.parametrize(("accuracy", "passed"), [(0.97, True), (0.9, False)])
def test_the_guides_check_examines(accuracy, passed):
    undefended = types.SimpleNamespace(attack="none", defense="none", accuracy=0.99)
    defended = types.SimpleNamespace(attack="none", defense="apeganpp", accuracy=accuracy)
    measurements = types.SimpleNamespace(rows=[undefended, defended])
    evidence = types.SimpleNamespace(measurements=measurements, pipeline_names=("apeganpp",))
    result = module_of("docs/guides/add/check.md").CLEAN_ACCURACY.run(evidence)
    assert result.passed == passed
    assert f"{accuracy:.1%}" in result.verdict


def test_the_table_of_checks_is_complete():
    page = (ROOT / "docs/explanation/reading-a-report.md").read_text()
    assert all(f"| {check.name} |" in page for check in CHECKS)


def test_the_page_of_checks_has_the_sizes_of_each_defence():
    text = " ".join((ROOT / "docs/explanation/reading-a-report.md").read_text().split())
    for name in DEFENSES.names():
        budget = DEFENSES.get(name).budget
        for field in ("random_perturbations", "check_images", "check_steps"):
            size = getattr(budget, field)
            if size != getattr(EvaluationBudget(), field):
                assert f"{size:,} for `{name}`" in text


@pytest.mark.parametrize("page", ["guides/pretrained.md", "start/your-model.md"])
def test_the_names_in_other_python_exist(page):
    for line in "\n".join(python_of(f"docs/{page}")).splitlines():
        for word in line.replace("(", " ").split():
            if word.startswith("tfdefense."):
                found = tfdefense
                for part in word.split(".")[1:]:
                    found = getattr(found, part)


def test_the_guides_surrogates_are_found(toy_model, toy_images):
    names = {"model": toy_model, "images": toy_images, "labels": None}
    first, second, *_ = python_of("docs/guides/attacks.md")
    imports = ast.Module([each for each in ast.parse(first).body if _imports(each)], [])
    exec(compile(imports, "imports", "exec"), names)
    names["APGDCE"] = MagicMock()  # Compiling it takes long.
    exec(second.replace("(28, 28, 1)", str(toy_images.shape[1:])), names)
    assert names["names"] == ("identity", "smooth")
    steps = np.linspace(0, 1, 1_000)
    staircase = np.asarray(names["smooth_staircase"](steps))
    assert (np.diff(staircase) > 0).all()
    assert abs(staircase - steps).max() < 0.5 / 255


def _imports(statement):
    return isinstance(statement, ast.Import | ast.ImportFrom)


def test_imports_in_the_attacks_guide_exist():
    for code in python_of("docs/guides/attacks.md"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                imported = importlib.import_module(node.module)
                assert all(hasattr(imported, each.name) for each in node.names)
