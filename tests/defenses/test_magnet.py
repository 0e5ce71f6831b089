import dataclasses

import numpy as np
import pytest
import scipy.spatial
import scipy.special
import tensorflow as tf

from tests.conftest import SHAPE
from tests.defenses.textbook import assert_same_variables, prepared
from tests.reports import evaluate_without_checks
from tfdefense.attacks import FABT, PGD, Attack, AutoAttack, DeepFool, FGSMPredicted
from tfdefense.data.core.dataset import Split
from tfdefense.defenses import MagNet
from tfdefense.defenses.core.rejecting_classifier import RejectingClassifier
from tfdefense.defenses.magnet import calibrate_thresholds
from tfdefense.errors import UserError
from tfdefense.evaluation import AttackPlan, ThreatModels, evaluate
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.report.render import to_markdown
from tfdefense.evaluation.report.report_files import save_report
from tfdefense.serving import export
from tfdefense.training import Replica
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.figures import save_figure, subplots


@pytest.fixture(scope="module")
def trained(toy_model, toy_split, repeated_toy_split, tmp_path_factory):
    """Also with divergence detectors, so that there are detectors of every kind."""
    defense = MagNet(
        toy_model, temperatures=(10, 40), false_positive_rate=0.1, filters=8, learning_rate=1e-2
    )
    run = tmp_path_factory.mktemp("magnet") / "run"
    return defense.fit(repeated_toy_split, 15, toy_split, batch_size=8, run=run), run


@pytest.mark.slow
def test_it_learns_to_reconstruct_images(trained, toy_split):
    defense, _ = trained
    error = np.mean((defense.purify(toy_split.images) - toy_split.images) ** 2)
    assert error < 0.5 * np.var(toy_split.images)


def test_the_detectors_are_those_of_the_paper(toy_model, toy_split):
    assert MagNet(toy_model).detector_names() == ["reconstruction_1_l2", "reconstruction_2_l1"]
    assert MagNet(toy_model).false_positive_rate == 0.001
    defense, images = MagNet(toy_model, temperatures=(10, 40)), toy_split.images
    assert defense.detector_names()[2:] == ["divergence_t10", "divergence_t40"]
    errors = [autoencoder(images).numpy() - images for autoencoder in defense.autoencoders]
    expected = [np.mean(errors[0] ** 2, axis=(1, 2, 3)), np.mean(np.abs(errors[1]), axis=(1, 2, 3))]
    logits, reformed = (np.float64(model(images)) for model in (toy_model, defense.defend()))
    for temperature in (10, 40):
        p, q = (scipy.special.softmax(each / temperature, axis=1) for each in (logits, reformed))
        expected.append(scipy.spatial.distance.jensenshannon(p, q, axis=1) ** 2)
    found = defense.distances(tf.constant(images))
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-3, atol=1e-6)


def test_the_score_is_that_of_the_detector_that_is_most_above_its_threshold(toy_model, toy_split):
    defense, images = MagNet(toy_model), tf.constant(toy_split.images)
    distances = defense.distances(images).numpy()
    thresholds = np.median(distances, axis=0)
    defense.thresholds.assign(thresholds)
    largest = np.argmax(distances / thresholds, axis=1)
    assert set(largest) == {0, 1}
    expected = np.log(distances / thresholds)[np.arange(24), largest]
    np.testing.assert_allclose(defense.detector_score(images), expected, atol=1e-5)


def test_a_step_updates_each_autoencoder_on_the_papers_loss(toy_model, toy_split):
    """For grey images, the noise has a standard deviation of 0.1."""
    ours, textbook = (prepared(MagNet, toy_model, seed=3) for _ in range(2))
    clean = tf.constant(toy_split.images)
    scalars = ours.train_step({"clean": clean}, Replica(0, tf.constant(4, tf.int64), 24))
    replica = Replica(0, tf.constant(4, tf.int64), 24)
    for number, (autoencoder, optimizer) in enumerate(
        zip(textbook.autoencoders, textbook.optimizers, strict=True)
    ):
        noisy = tf.clip_by_value(clean + 0.1 * replica.normal(SHAPE), 0, 1)
        variables = autoencoder.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(autoencoder(noisy) - clean))
        optimizer.apply(tape.gradient(loss, variables), variables)
        np.testing.assert_allclose(scalars[f"loss_{autoencoder.name}"], loss, rtol=1e-5)
        assert_same_variables(ours.optimizers[number], optimizer, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_each_detector_refuses_its_fraction_of_clean_images(trained, toy_split):
    defense, _ = trained
    distances = defense.distances(toy_split.images).numpy()
    assert distances.shape == (24, 4)
    refused = np.mean(defense.thresholds(distances).numpy() > 1 + 1e-6, axis=0)
    np.testing.assert_allclose(refused, 2 / 24)  # At most a tenth of 24.


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.1, 0.5])
def test_at_most_the_given_fraction_exceeds_the_thresholds(rate):
    distances = np.random.default_rng(1).random((200, 3)).astype(np.float32)
    refused = np.mean(distances > calibrate_thresholds(distances, rate), axis=0)
    assert np.all(refused <= rate)
    np.testing.assert_allclose(refused, int(200 * rate) / 200)


@pytest.mark.slow
def test_noise_is_refused(trained, toy_split):
    defense, _ = trained
    noise = np.random.default_rng(0).random(toy_split.images.shape, np.float32)
    assert np.mean(defense.detector_score(noise) > 0) > 0.9


@pytest.mark.slow
def test_a_finished_run_is_loaded_with_its_thresholds(
    trained, toy_model, toy_split, repeated_toy_split
):
    defense, run = trained
    given = {
        "temperatures": (10, 40),
        "false_positive_rate": 0.1,
        "filters": 8,
        "learning_rate": 1e-2,
    }
    again = MagNet(toy_model, 1, **given)
    with pytest.raises(UserError, match=r"other settings: --seed=0 \(1 now\)"):
        again.fit(repeated_toy_split, 15, toy_split, batch_size=8, run=run)
    again = MagNet(toy_model, **given)
    again.fit(repeated_toy_split, 15, toy_split, batch_size=8, run=run)
    np.testing.assert_array_equal(
        again.detector_score(toy_split.images), defense.detector_score(toy_split.images)
    )


@pytest.mark.slow
def test_the_last_class_of_a_rejecting_classifier_means_refused(trained, toy_split):
    defense, _ = trained
    pipeline = defense.defend()
    images = np.concatenate([toy_split.images, 1 - toy_split.images])
    logits = RejectingClassifier(pipeline)(images).numpy()
    np.testing.assert_array_equal(logits[:, :3], pipeline(images))
    refused = defense.detector_score(images).numpy() > 0
    assert 0 < refused.sum() < len(images)
    np.testing.assert_array_equal(np.argmax(logits, -1) == 3, refused)


@pytest.mark.slow
def test_an_attack_on_both_evades_the_detector(trained, toy_split):
    """The detector refuses images that fool the pipeline alone, but not those that also attack the detector."""
    defense, _ = trained
    pipeline, labels = defense.defend(), toy_split.labels
    attack = PGD(epsilon=0.5, steps=60, relative_step_size=0.05)
    unaware = attack(pipeline, toy_split.images, labels)
    targets = (labels + 1) % 3
    adaptive = attack(RejectingClassifier(pipeline), toy_split.images, labels, targets)

    def evasion_rate(images):
        wrong = np.argmax(pipeline(images), -1) != labels
        return np.mean(wrong & (defense.detector_score(images).numpy() <= 0))

    assert evasion_rate(adaptive) > evasion_rate(unaware)


@pytest.mark.parametrize(
    ("attack", "aiming"),
    [
        (PGD(epsilon=0.5), "pgd"),
        (FGSMPredicted(epsilon=0.5), "fgsm"),
        (DeepFool(), "cw"),
        (FABT(epsilon=0.5), "apgd_t"),
        (FABT(), "cw"),
        (AutoAttack(epsilon=0.5), "apgd_ce, apgd_t, square"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_attack_without_targets_has_a_targeted_variant(attack, aiming):
    found = attack.targeted_variant(num_classes=4)
    parts = getattr(found, "attacks", (found,))
    assert ", ".join(part.name for part in parts) == aiming
    assert all(part.takes_targets for part in parts)
    radius = getattr(attack, "epsilon", None)
    assert {getattr(part, "epsilon", None) for part in parts} == {radius}


@pytest.mark.slow
def test_a_report_uses_targeted_variants_against_the_detector(trained, toy_split):
    defense, _ = trained
    attacks = [FGSMPredicted(epsilon=0.5), FABT(epsilon=0.5, steps=10)]
    report = evaluate_without_checks(
        defense, toy_split.take(8), attacks, threat_models=ThreatModels(("white_box",))
    )
    said = [note for note in report.notes if "takes no targets" in note]
    assert said[0].startswith("fgsm_predicted takes no targets, so fgsm attacks the detector")
    assert "so apgd_t attacks the detector instead" in said[1]
    judged = {
        name: report.per_image[f"{name}/fab_t:steps=10/white_box"].perturbation
        for name in ("magnet", "magnet_without_detector")
    }
    assert np.any(judged["magnet"] != judged["magnet_without_detector"])
    without = dataclasses.make_dataclass("Bare", [], bases=(DeepFool,), frozen=True)
    without.name, without.targeted_variant = "bare", Attack.targeted_variant
    with pytest.raises(UserError, match="bare takes no targets and has no targeted variant"):
        evaluate(defense, toy_split, [without()])


@pytest.fixture(scope="module")
def report(trained, toy_split):
    checks = CheckSettings(("label_leaking",))
    return evaluate_plan(trained[0], toy_split, AttackPlan((PGD(epsilon=0.5),), checks=checks))


@pytest.mark.slow
def test_a_report_counts_refused_images(report):
    bare = "magnet_without_detector"
    assert [row.defense for row in report.rows[:3]] == ["none", "magnet", bare]
    labels, clean = report.labels, report.per_image["magnet/none/none"].predicted
    assert report.row("magnet", "none", "none").accuracy == np.mean(clean == labels)
    grey = report.per_image["magnet/pgd/grey_box"].predicted
    right = (grey == labels) | (grey == -1)
    assert report.row("magnet", "pgd", "grey_box").accuracy == right.mean()
    without = report.per_image[f"{bare}/pgd/grey_box"].predicted
    np.testing.assert_array_equal(np.where(grey == -1, without, grey), without)
    assert report.row(bare, "pgd", "grey_box").accuracy == np.mean(without == labels)
    fooled = report.per_image["none/pgd/white_box"].predicted != labels
    fooled &= report.per_image["none/none/none"].predicted == labels
    assert report.recoveries[0].restored == np.mean((without == labels)[fooled])
    clean_detection, *others = report.detections
    assert clean_detection.refused == np.mean(clean == -1)
    assert {each.threat_model for each in others} == {"grey_box", "white_box"}
    assert others[0].refused == np.mean(grey == -1)
    text = to_markdown(report)
    assert "## Detector" in text
    assert "these count as wrong" in report.summary
    assert "leaks the true label" not in text


@pytest.mark.slow
def test_a_saved_report_has_the_roc_of_the_detector(report, tmp_path):
    figure, _ = subplots(1, 1, (4, 3))
    save_figure(figure, tmp_path / "gallery.png")
    save_report(report, RunDirectory(tmp_path))
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert type(report).from_json((tmp_path / "report.json").read_text()).rows == report.rows
    with np.load(tmp_path / "predictions.npz") as file:
        assert file["magnet/pgd/grey_box/excess"].shape == (24,)


@pytest.mark.slow
def test_the_exported_model_says_which_images_it_refuses(trained, toy_split, tmp_path):
    path = export(trained[0], tmp_path)
    served = tf.saved_model.load(path).signatures["serving_default"]
    images = np.concatenate([toy_split.images, 1 - toy_split.images])
    score = trained[0].detector_score(images).numpy()
    # An image that a threshold was calibrated on has a score of zero, whose sign is rounding.
    decided = np.abs(score) > 1e-6
    assert decided.sum() >= len(images) - 2
    refused = served(images=tf.constant(images))["refused"].numpy()
    np.testing.assert_array_equal(refused[decided], score[decided] > 0)


def test_colour_images_have_one_autoencoder_and_divergence(colour_classifier):
    defense = MagNet(colour_classifier)
    assert defense.detector_names() == ["reconstruction_1_l1", "divergence_t10", "divergence_t40"]
    assert defense.false_positive_rate == 0.005
    assert defense.noise == 0.025


def test_fitting_needs_validation_images(toy_model, toy_split):
    with pytest.raises(UserError, match="validation: none given"):
        MagNet(toy_model).fit(toy_split, epochs=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"false_positive_rate": 0.0}, "--false_positive_rate=0.0: a number above 0 and below 1"),
        ({"false_positive_rate": 1.0}, "--false_positive_rate=1.0"),
        ({"noise": -0.1}, "--noise=-0.1"),
        ({"filters": 0}, "--filters=0: at least 1"),
        ({"temperatures": (10, -1)}, "--temperatures: -1 given, more than 0"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        MagNet(toy_model, **given)


def test_stored_pairs_are_rejected(toy_model, toy_split):
    with pytest.raises(UserError, match="learns from clean images only"):
        MagNet(toy_model).training_arrays(toy_split, ["something"])


def test_an_error_names_the_shape_of_unsuitable_images(toy_model):
    other = Split(np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int32), 3)
    with pytest.raises(UserError, match="train: images of"):
        MagNet(toy_model).fit(other, epochs=1, validation=other)
