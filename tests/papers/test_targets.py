"""Keys of targets: what they contain, and what they do not."""

import dataclasses
import hashlib
import json
from types import SimpleNamespace

from tests.papers.conftest import make_grid
from tfdefense.classifiers import CLASSIFIERS, ClassifierConfig
from tfdefense.classifiers.core.architecture import Architecture
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.registry import DEFENSES
from tfdefense.papers.paper import PaperDefense, paper_names
from tfdefense.papers.stored_target import SCHEMA
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget
from tfdefense.training import LoopConfig


def test_keys_differ_if_a_dependency_differs():
    examples = ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.3", 100)
    options = (("batch_size", 64),)
    for other in (
        ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.2", 100),
        ExamplesTarget(ClassifierTarget("mnist", "lenet"), "fgsm:epsilon=0.3", 200),
        ExamplesTarget(ClassifierTarget("mnist", "lenet", 3), "fgsm:epsilon=0.3", 100),
        ExamplesTarget(
            ClassifierTarget("mnist", "lenet", options=options), "fgsm:epsilon=0.3", 100
        ),
        ExamplesTarget(ClassifierTarget("digits", "lenet"), "fgsm:epsilon=0.3", 100),
    ):
        assert other.key != examples.key


def test_a_classifier_without_options_has_the_key_of_older_stores():
    classifier = ClassifierTarget("mnist", "lenet")
    assert classifier.key_fields() == {"dataset": "mnist", "name": "lenet", "passes": None}


def test_stored_figures_of_cifar_cnn_have_the_recipe_of_their_measurement():
    cells = [cell for _, cell in make_grid(tables=["I"], dataset="cifar10").cells]
    (classifier,) = {each.classifier for each in cells if each.classifier.name == "cifar_cnn"}
    architecture = CLASSIFIERS.get("cifar_cnn")
    trained = ClassifierConfig(**dict(classifier.options)).apply_to(architecture.color)
    images = trained.training_images  # Of no effect: the budget has a number of epochs.
    assert classifier.passes == 8
    assert trained == dataclasses.replace(Architecture.color, training_images=images)
    # The options are not in the key of the stored figures, so the recipe of today has another key.
    assert set(classifier.key_fields()) == {"dataset", "name", "passes"}
    assert ClassifierTarget("cifar10", "cifar_cnn", 8).key != classifier.key


def test_the_order_of_options_does_not_change_the_key():
    classifier = ClassifierTarget("mnist", "lenet")
    options = {"schedule": "cosine", "learning_rate": 1e-3}
    targets = [
        DefenseTarget.from_choice(classifier, PaperDefense("cgan", "", dict(items)), 2)
        for items in (options.items(), reversed(options.items()))
    ]
    assert targets[0].key == targets[1].key


def test_a_defence_without_training_has_no_epochs():
    choice = PaperDefense("bit_depth", "")
    assert DefenseTarget.from_choice(ClassifierTarget("mnist", "lenet"), choice, 2).passes is None


# Recipes for grey images are those of the first hashes. In colour, an image is mirrored in every second
# pass in place of at random, which changes accuracies by less than their intervals. `cifar_cnn` has
# another recipe: budgets with stored figures give it the first one. `resnet18`, `vgg16` and `densenet`
# have other recipes too, but no figure in colour was stored before. Later fields change nothing by default:
# `average` of recipes, `augmentation`, `mirror`, `cutout` and `blocks` of defences.
HASHES_OF_SCHEMA_1 = {
    "loop": "7af6ef7b",
    "classifiers": "9974b789",
    "defenses": "7af6ef7b",
    "anet": "c250ebc5",
    "bnet": "042015e6",
    "cifar_cnn": "4edea327",
    "defense_gan_a": "042015e6",
    "defense_gan_b": "c250ebc5",
    "defense_gan_c": "cd4f1717",
    "defense_gan_d": "db82132b",
    "densenet": "2ed1ac4c",
    "dnet": "f2d8b6dc",
    "lenet": "92141678",
    "mnist_cnn": "c250ebc5",
    "resnet18": "b91e7b81",
    "rnet": "9c9480f3",
    "vgg16": "7480c334",
    "adversarial_training": "cf1daf35",
    "apegan": "06258569",
    "apeganpp": "47bbe86b",
    "bit_depth": "bfa69030",
    "cgan": "7121374b",
    "defense_gan": "2e79ebb0",
    "magnet": "fd4bf52c",
    "spatial_smoothing": "4d2b50d8",
    "total_variation": "adc98640",
}


def test_recipes_and_defaults_are_those_of_the_schema():
    """Keys do not contain recipes and defaults.

    After a change to one of them that changes figures, raise `SCHEMA`, or give the old values to the
    budget of the stored figures (`targets._FIRST_OPTIONS`). Then update the hash.
    """
    cells = [cell for name in paper_names() for _, cell in make_grid(name).cells]
    classifiers = {cell.classifier.name for cell in cells}
    defenses = {cell.defense.defense for cell in cells if cell.defense}
    grey = SimpleNamespace(image_shape=(28, 28, 1))
    values = {
        "loop": vars(LoopConfig(1)),
        "classifiers": vars(ClassifierConfig()),
        "defenses": vars(LearnedDefense.loop_config(train=grey, epochs=1)),
    }
    for name in sorted(classifiers):
        architecture = CLASSIFIERS.get(name)
        values[name] = [vars(architecture.grey), vars(architecture.color)]
    for name in sorted(defenses):
        values[name] = vars(DEFENSES.get(name).config_type())
    hashes = {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
        for name, value in values.items()
    }
    assert (SCHEMA, hashes) == (1, HASHES_OF_SCHEMA_1)
