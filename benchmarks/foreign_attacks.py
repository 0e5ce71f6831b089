"""Tries every attack of cleverhans, ART and foolbox on a small model, and prints a table.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/foreign_attacks.py --markdown=table.md

Each attack gets a small budget and a few images with a bright bar, which a small network tells
apart. "works" means that it fools the network on at least one image that the network classifies
correctly. The table in docs/guides/other-attacks.md is from this program.
"""

import argparse
import json
import os
import signal
import sys
import textwrap
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from tfdefense.adapters.art_attacks import art_attack_names
from tfdefense.adapters.cleverhans_attacks import cleverhans_attack_names
from tfdefense.adapters.foolbox_attacks import foolbox_attack_names
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.errors import UserError, WorkFailedError

SHAPE, CLASSES = (16, 16, 1), 4
EPSILONS = {"linf": 0.4, "l2": 6.0, "l1": 80.0}
# Parameters that shorten an attack, in the order in which they are tried.
BUDGET = {
    "max_iter": 20,
    "steps": 50,
    "nb_iter": 20,
    "nb_steps": 20,
    "max_iterations": 50,
    "binary_search_steps": 3,
    "query_limit": 2000,
    "num_trial": 20,
    "directions": 20,
}
# Attacks that need more than that, or a parameter without a useful default.
EXTRA = {
    "art:BoundaryAttack": "max_iter=100",
    "art:CarliniL0Method": "max_iter=5:binary_search_steps=1:initial_const=10:learning_rate=0.1",
    "art:CarliniL2Method": "max_iter=20:binary_search_steps=3:initial_const=10:learning_rate=0.1",
    "art:CarliniLInfMethod": "max_iter=10:initial_const=1:learning_rate=0.1",
    "art:ElasticNet": "max_iter=20:binary_search_steps=3:initial_const=10:learning_rate=0.1",
    "art:NewtonFool": "max_iter=50:eta=1.0",
    "art:PixelAttack": "max_iter=10:th=120",
    "art:ShadowAttack": "nb_steps=100:lambda_tv=0.01:lambda_c=0.01:lambda_s=0.01",
    "art:SignOPTAttack": "max_iter=5:num_trial=5:query_limit=500:k=20",
    "art:SpatialTransformation": "max_translation=25:num_translations=5:max_rotation=30:num_rotations=3",
    "art:SquareAttack": "max_iter=100",
    "art:ThresholdAttack": "max_iter=10:th=128:es=1",
    "art:UniversalPerturbation": "max_iter=3:delta=0.01:attacker=pgd",
    "art:ZooAttack": "max_iter=100:use_resize=False:use_importance=False:learning_rate=0.3"
    ":initial_const=10:nb_parallel=64",
    "cleverhans:carlini_wagner_l2": "max_iterations=40:binary_search_steps=1"
    ":learning_rate=0.2:initial_const=100:abort_early=False",
    "cleverhans:spsa": "nb_iter=20:learning_rate=0.1",
    "foolbox:BoundaryAttack": "steps=100",
    "foolbox:GaussianBlurAttack": "steps=20",
    "foolbox:HopSkipJumpAttack": "steps=5",
    "foolbox:L2CarliniWagnerAttack": "steps=100:stepsize=0.1:binary_search_steps=3",
    "foolbox:LinearSearchBlendedUniformNoiseAttack": "directions=20:steps=20",
    "foolbox:LinearSearchContrastReductionAttack": "steps=20",
    "foolbox:NewtonFoolAttack": "steps=50:stepsize=0.5",
    "foolbox:SaltAndPepperNoiseAttack": "steps=100",
    "foolbox:VirtualAdversarialAttack": "steps=20:xi=0.1",
}


class OutOfTime(BaseException):
    """The attack took longer than its limit. Attacks catch exceptions, but not this one."""


def make_model(count):
    """Return a small trained classifier, and correctly classified images with their labels."""
    rng = np.random.default_rng(0)
    images = 0.3 * rng.random((64, *SHAPE), np.float32)
    labels = (np.arange(64) % CLASSES).astype(np.int32)
    for image, label in zip(images, labels, strict=True):
        image[4 * label : 4 * label + 3] += 0.5
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES),
    ]
    model = keras.Sequential([keras.Input(SHAPE), *layers], name="bars")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(images, labels, epochs=30, batch_size=32, verbose=0)
    assert np.all(np.argmax(model(images), 1) == labels)
    return model, images[:count], labels[:count]


def short_label(library, name):
    """Return the label of an attack with a small budget."""
    label = f"{library}:{name}"
    if label in EXTRA:
        return f"{label}:{EXTRA[label]}"
    for key, value in BUDGET.items():
        candidate = f"{label}:{key}={value}"
        try:
            parse_attack(candidate, EPSILONS)
        except UserError:
            continue
        label = candidate
    return label


def try_attack(label, model, images, labels, limit):
    """Return the state of an attack ("works", "no effect", "refused", "fails") and the facts."""

    def give_up(*_):
        raise OutOfTime(f"more than {limit} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(limit)
    started = time.perf_counter()
    found = {"label": label}
    try:
        attack = parse_attack(label, EPSILONS)
        found |= {"norm": attack.norm, "epsilon": attack.epsilon, "targets": attack.takes_targets}
        result = attack.run(model, images, labels)
    except UserError as error:
        return found | {"state": "refused", "reason": str(error)}
    except (WorkFailedError, OutOfTime) as error:
        return found | {"state": "fails", "reason": str(error)}
    finally:
        signal.alarm(0)
    success = np.asarray(result.success)
    sizes = {name: np.asarray(getattr(result, name)) for name in ("l2", "linf")}
    return found | {
        "state": "works" if success.any() else "no effect",
        "success": float(success.mean()),
        **{
            name: float(size[success].mean()) if success.any() else None
            for name, size in sizes.items()
        },
        "queries": float(np.mean(result.queries)),
        "seconds": round(time.perf_counter() - started, 1),
        **try_targets(attack, model, images, labels, limit),
    }


def try_targets(attack, model, images, labels, limit):
    """Return the share of two images that the attack moves to the next class, if it takes targets."""
    if not attack.takes_targets:
        return {}
    signal.alarm(limit)
    try:
        result = attack.run(model, images[:2], labels[:2], (labels[:2] + 1) % CLASSES)
    except (UserError, WorkFailedError, OutOfTime) as error:
        return {"targeted": str(error)}
    finally:
        signal.alarm(0)
    return {"targeted": float(np.mean(result.success))}


def to_markdown(results):
    """Return the tables of the documentation: attacks that ran, and reasons against the others."""
    lines = ["| attack | norm | radius | targets | result |", "| --- | --- | --- | --- | --- |"]
    reasons = {}
    for name, found in results.items():
        if found["state"] in ("refused", "fails"):
            text = found["reason"].partition(f"{name}: ")[2] or found["reason"]
            reason = text.removesuffix(".").removesuffix("; choose another")
            reasons.setdefault(reason, []).append(f"`{name}`")
            continue
        targeted = found.get("targeted")
        cells = [
            f"`{name}`",
            found["norm"].replace("none", "-"),
            "-" if found["epsilon"] is None else "yes",
            "-" if targeted is None else "fails" if isinstance(targeted, str) else "yes",
            found["state"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for reason, names in reasons.items():
        text = f"- {', '.join(names)}: {reason}."
        lines += textwrap.wrap(text, 98, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libraries", default="cleverhans,art,foolbox")
    parser.add_argument("--names", default="", help="only these attacks")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--limit", type=int, default=90, help="seconds for an attack")
    parser.add_argument("--markdown", help="file for the table")
    arguments = parser.parse_args()
    names = {
        "cleverhans": cleverhans_attack_names(),
        "art": art_attack_names(),
        "foolbox": foolbox_attack_names(),
    }
    model, images, labels = make_model(arguments.images)
    results = {}
    for library in arguments.libraries.split(","):
        for name in names[library]:
            if arguments.names and name not in arguments.names.split(","):
                continue
            label = short_label(library, name)
            found = try_attack(label, model, images, labels, arguments.limit)
            results[f"{library}:{name}"] = found
            print(json.dumps(found), flush=True)
    if arguments.markdown:
        Path(arguments.markdown).write_text(to_markdown(results) + "\n")
    states = [found["state"] for found in results.values()]
    print(
        json.dumps(
            {
                "benchmark": "foreign_attacks",
                "ours": {state: states.count(state) for state in sorted(set(states))},
                "peer": None,
                "ratio": None,
                "unit": "attacks",
            }
        )
    )


if __name__ == "__main__":
    main()
