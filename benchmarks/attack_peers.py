"""The attacks of ART and foolbox, with the settings that `attacks.py` compares."""

import dataclasses

import keras
import tensorflow as tf

from tfdefense.attacks import BIM, FGSM, JSMA, PGD, CarliniWagnerL2, DeepFool

EPSILON = 0.1


@dataclasses.dataclass(frozen=True)
class Budget:
    """Settings that all libraries share in a comparison at equal budgets.

    Nobody stops a C&W search early, so that all make `searches` times `steps` steps.
    """

    searches: int = 6
    steps: int = 30
    learning_rate: float = 0.01
    confidence: float = 0.0
    initial_const: float = 0.01
    deepfool_steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    theta: float = 0.3
    gamma: float = 0.8


def make_our_attacks(budget):
    """Return name -> attack; without a budget, at our defaults."""
    attacks = {
        "fgsm": FGSM(epsilon=EPSILON),
        "bim": BIM(epsilon=EPSILON),
        "pgd": PGD(epsilon=EPSILON),
    }
    if budget is None:
        return {"deepfool": DeepFool(), "jsma": JSMA(), "cw": CarliniWagnerL2()}
    return attacks | {
        "deepfool": DeepFool(
            steps=budget.deepfool_steps, overshoot=budget.overshoot, candidates=budget.candidates
        ),
        "jsma": JSMA(theta=budget.theta, gamma=budget.gamma),
        "cw": CarliniWagnerL2(
            searches=budget.searches,
            steps=budget.steps,
            learning_rate=budget.learning_rate,
            confidence=budget.confidence,
            initial_const=budget.initial_const,
            abort_early=False,
        ),
    }


def compile_logits(network):
    """Return a compiled function from images to logits: the libraries are faster with one."""

    def logits(images, *, training=False):
        return network(images, training=training)

    return tf.function(logits, autograph=False, reduce_retracing=True)


def make_art_peers(target, budget):
    """Return name -> function (batch size, number of images) -> adversarial images."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    classifier = TensorFlowV2Classifier(
        compile_logits(target.model),
        nb_classes=target.classes,
        input_shape=target.images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    quiet = {"verbose": False}
    if budget is None:
        makers = {
            "deepfool": lambda b: evasion.DeepFool(classifier, batch_size=b, **quiet),
            "jsma": lambda b: evasion.SaliencyMapMethod(classifier, batch_size=b, **quiet),
            "cw": lambda b: evasion.CarliniL2Method(classifier, batch_size=b, **quiet),
        }
    else:
        makers = make_art_attacks(evasion, classifier, budget)

    def run(name, batch_size, count):
        labels = target.targets if name == "jsma" else target.labels
        return makers[name](batch_size).generate(target.images[:count], labels[:count])

    return {name: lambda b, n, name=name: run(name, b, n) for name in makers}


def make_art_attacks(evasion, classifier, budget):
    """Return name -> function from a batch size to the attack of ART at the budget."""
    quiet = {"verbose": False}
    return {
        "fgsm": lambda b: evasion.FastGradientMethod(classifier, eps=EPSILON, batch_size=b),
        "bim": lambda b: evasion.BasicIterativeMethod(
            classifier, eps=EPSILON, eps_step=EPSILON / 4, max_iter=10, batch_size=b, **quiet
        ),
        "pgd": lambda b: evasion.ProjectedGradientDescent(
            classifier,
            eps=EPSILON,
            eps_step=EPSILON / 30,
            max_iter=40,
            num_random_init=1,
            batch_size=b,
            **quiet,
        ),
        "deepfool": lambda b: evasion.DeepFool(
            classifier,
            max_iter=budget.deepfool_steps,
            epsilon=budget.overshoot,
            nb_grads=budget.candidates,
            batch_size=b,
            **quiet,
        ),
        "jsma": lambda b: evasion.SaliencyMapMethod(
            classifier, theta=budget.theta, gamma=budget.gamma, batch_size=b, **quiet
        ),
        "cw": lambda b: evasion.CarliniL2Method(
            classifier,
            confidence=budget.confidence,
            learning_rate=budget.learning_rate,
            binary_search_steps=budget.searches,
            max_iter=budget.steps,
            initial_const=budget.initial_const,
            batch_size=b,
            **quiet,
        ),
    }


def make_foolbox_peers(target, budget):
    """Return name -> function () -> adversarial images."""
    import foolbox

    model = foolbox.TensorFlowModel(compile_logits(target.model), bounds=(0, 1))
    images = tf.constant(target.images)
    # On NumPy 2 foolbox fails with int32 labels.
    goal = foolbox.criteria.Misclassification(tf.constant(target.labels, tf.int64))
    attacks = foolbox.attacks
    if budget is None:
        bounded = {}
        nearest = {"deepfool": attacks.L2DeepFoolAttack(), "cw": attacks.L2CarliniWagnerAttack()}
    else:
        bounded = {
            "fgsm": attacks.LinfFastGradientAttack(),
            "bim": attacks.LinfBasicIterativeAttack(rel_stepsize=0.25, steps=10),
            "pgd": attacks.LinfPGD(rel_stepsize=1 / 30, steps=40),
        }
        nearest = {
            "deepfool": attacks.L2DeepFoolAttack(
                steps=budget.deepfool_steps,
                candidates=budget.candidates,
                overshoot=budget.overshoot,
            ),
            "cw": attacks.L2CarliniWagnerAttack(
                budget.searches,
                budget.steps,
                stepsize=budget.learning_rate,
                confidence=budget.confidence,
                initial_const=budget.initial_const,
                abort_early=False,
            ),
        }
    peers = {
        name: lambda attack=attack: attack.run(model, images, goal, epsilon=EPSILON).numpy()
        for name, attack in bounded.items()
    }
    return peers | {
        name: lambda attack=attack: attack.run(model, images, goal).numpy()
        for name, attack in nearest.items()
    }
