"""The attacks of ART and foolbox, with the settings that `attacks.py` compares."""

import keras
import tensorflow as tf

EPSILON = 0.1
THETA, GAMMA = 0.3, 0.8


def make_art_peers(target):
    """Return name -> function (batch size, number of images) -> adversarial images."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    classifier = TensorFlowV2Classifier(
        target.model,
        nb_classes=10,
        input_shape=(28, 28, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    quiet = {"verbose": False}
    makers = {
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
        "deepfool": lambda b: evasion.DeepFool(classifier, batch_size=b, **quiet),
        "jsma": lambda b: evasion.SaliencyMapMethod(
            classifier, theta=THETA, gamma=GAMMA, batch_size=b, **quiet
        ),
        "cw": lambda b: evasion.CarliniL2Method(
            classifier,
            confidence=0.01,
            binary_search_steps=15,
            max_iter=15,
            batch_size=b,
            **quiet,
        ),
    }

    def run(name, batch_size, count):
        labels = target.targets if name == "jsma" else target.labels
        return makers[name](batch_size).generate(target.images[:count], labels[:count])

    return {name: lambda b, n, name=name: run(name, b, n) for name in makers}


def make_foolbox_peers(target, cw):
    """Return name -> function () -> adversarial images."""
    import foolbox

    model = foolbox.TensorFlowModel(target.model, bounds=(0, 1))
    images = tf.constant(target.images)
    # On NumPy 2 foolbox fails with int32 labels.
    goal = foolbox.criteria.Misclassification(tf.constant(target.labels, tf.int64))
    searches, steps = cw
    bounded = {
        "fgsm": foolbox.attacks.LinfFastGradientAttack(),
        "bim": foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=0.25, steps=10),
        "pgd": foolbox.attacks.LinfPGD(rel_stepsize=1 / 30, steps=40),
    }
    nearest = {
        "deepfool": foolbox.attacks.L2DeepFoolAttack(),
        "cw": foolbox.attacks.L2CarliniWagnerAttack(searches, steps, initial_const=1.0),
    }
    peers = {
        name: lambda attack=attack: attack.run(model, images, goal, epsilon=EPSILON).numpy()
        for name, attack in bounded.items()
    }
    peers |= {
        name: lambda attack=attack: attack.run(model, images, goal).numpy()
        for name, attack in nearest.items()
    }
    return peers
