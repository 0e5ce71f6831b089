import pytest
import tensorflow as tf

from tests.conftest import SHAPE, make_toy_model
from tests.evaluation.checks.planted_flaws import PlantedDefense
from tfdefense.attacks import FGSM, bpda
from tfdefense.classifiers import FrozenClassifier
from tfdefense.errors import UserError
from tfdefense.evaluation import AttackPlan
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.surrogate_choice import check_surrogates, surrogate_notes
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.plan import plan_training

TWO = {"opposite": tf.negative, "right": None}


@pytest.fixture(scope="module")
def two_gradients():
    return PlantedDefense(make_toy_model(), bpda(tf.identity, TWO))


def test_unknown_names_are_errors_before_any_attack(two_gradients, toy_split):
    check_surrogates(("right",), two_gradients)
    check_surrogates(None, two_gradients)
    with pytest.raises(UserError, match=r"unknown --surrogates 'rigth'.*'right'.*opposite, right"):
        check_surrogates(("right", "rigth"), two_gradients)
    one = PlantedDefense(make_toy_model(), bpda(tf.identity))
    with pytest.raises(UserError, match="--surrogates=right: planted declares no choice"):
        check_surrogates(("right",), one)
    with pytest.raises(UserError, match="unknown --surrogates 'true'"):
        evaluate_plan(two_gradients, toy_split, AttackPlan((FGSM(),), surrogates=("true",)))


def test_a_classifier_with_other_gradients_needs_one_of_its_own():
    model = make_toy_model()
    step = bpda(tf.identity, {"smooth": None, "rough": tf.negative})
    classifier = FrozenClassifier(lambda images: model(step(images)), SHAPE)
    both = PlantedDefense(classifier, bpda(tf.identity, TWO))
    check_surrogates(("right", "rough"), both)
    with pytest.raises(UserError, match="the classifier declares smooth, rough"):
        check_surrogates(("right",), both)


def test_a_report_says_what_was_left_out(two_gradients):
    assert surrogate_notes(None, two_gradients) == ()
    assert surrogate_notes(("opposite", "right"), two_gradients) == ()
    (note,) = surrogate_notes(("opposite",), two_gradients)
    assert "opposite only" in note
    assert note.endswith("right.")


def test_all_is_the_default_and_stands_alone():
    assert EvaluationConfig().chosen_surrogates is None
    assert EvaluationConfig(surrogates=("true",)).chosen_surrogates == ("true",)
    with pytest.raises(UserError, match="--surrogates=all,true: all includes the others"):
        EvaluationConfig(surrogates=("all", "true"))
    with pytest.raises(UserError, match="--surrogates: none given"):
        EvaluationConfig(surrogates=())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defense", "message"),
    [
        ("robust_purifier", r"unknown --surrogates 'softplus'.* leaky, softplus_0.3, softplus_1"),
        ("bit_depth", "--surrogates=softplus: bit_depth declares no choice"),
    ],
)
def test_unknown_names_are_errors_before_the_classifier_is_trained(defense, message, tmp_path):
    flags = {"defense": defense, "dataset": "digits", "classifier": "mnist_cnn"}
    evaluation = EvaluationConfig(surrogates=("softplus",))
    config = experiment_from_flags(flags, evaluation=evaluation)
    with pytest.raises(UserError, match=message):
        plan_training(config, ExperimentContext(runs_dir=tmp_path))
    assert not list(tmp_path.iterdir())
