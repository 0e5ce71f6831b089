"""bin/attack: flags in front of `crafting.craft`."""

import dataclasses
from typing import Any

from tfdefense.attacks import ATTACKS, default_epsilon, make
from tfdefense.attacks.core.adversarial_dataset import craft
from tfdefense.attacks.core.hyperparameters import options
from tfdefense.cli.flags import (
    FlagGroups,
    add_classifier_flags,
    add_data_flags,
    add_device_flags,
    devices,
    parsed,
)
from tfdefense.errors import require, unknown_name
from tfdefense.evaluation.attack_summary import save_summary, summary_table
from tfdefense.experiments.settings import (
    CLASSIFIER_SETTINGS,
    DATA_SETTINGS,
    DEFAULTS,
    choose_classifier,
    choose_default_classifier,
    load_data,
)
from tfdefense.experiments.train import load_dataset, load_defense
from tfdefense.training.run_directory import Run

_SPLITS = ("test", "train", "validation")


def command_flags() -> FlagGroups:
    """The flags of `bin/attack`."""
    flags = FlagGroups(
        "bin/attack",
        "makes adversarial examples and keeps them, as float32, for training and for other programs."
        " The same command again finds what is there and goes on with what is not.",
    )
    flags.add("what", "attack", str, f"How: {', '.join(ATTACKS.names())}.")
    add_data_flags(flags)
    add_classifier_flags(flags, "What to attack.")
    flags.add(
        "what",
        "run",
        str,
        "In place of dataset and classifier: a run directory of bin/train, whose purifier and"
        " classifier are attacked together (white box).",
    )
    flags.add("what", "split", str, f"Whose images: {', '.join(_SPLITS)} (default: test).")
    flags.add("what", "images", int, "The first so many of them (default: all).")
    flags.add(
        "where",
        "output",
        str,
        "Directory (default: runs/attacks/<dataset>-<split>-<classifier>-<attack>-<hash>).",
    )
    flags.add("how", "batch_size", int, "Images in a batch, and in a file (default: 250).")
    add_device_flags(flags)
    for option in options():
        shown = {str(default) for default in option.defaults.values()}
        defaults = (
            shown.pop()
            if len(shown) == 1
            else ", ".join(f"{name} {default}" for name, default in option.defaults.items())
        )
        text = f"{option.help[:1].upper()}{option.help[1:]} (default: {defaults})"
        if option.name == "epsilon":
            text = (
                "Radius of the ball around each image; in [0, 1] for linf (default: 0.3 for grey"
                " images, 8/255 for colour; for l2 1.5 and 0.5; fab_t: none)."
            )
        flags.add_typed("the attack", option.name, option.annotation, text)
    return flags


def run(given: dict[str, Any]) -> None:
    """Attacks; prints the summary and where the examples are."""
    given = parsed(given)
    with devices(given):
        _attack(given)


def _attack(given: dict[str, Any]) -> None:
    require("attack" in given, f"--attack: none given. Known: {', '.join(ATTACKS.names())}.")
    name = given.pop("attack")
    ATTACKS.check(name)
    part, count = given.pop("split", "test"), given.pop("images", None)
    if part not in _SPLITS:
        raise unknown_name("--split", part, _SPLITS)
    require(count is None or count >= 1, f"--images={count}: at least 1 needed.")
    output, batch_size = given.pop("output", None), given.pop("batch_size", 250)
    directory, data_dir = given.pop("run", None), given.pop("data_dir", None)
    unsafe_load = given.pop("unsafe_load", False)
    chosen = {key: given.pop(key) for key in (*DATA_SETTINGS, *CLASSIFIER_SETTINGS) if key in given}
    make(name, **given)  # Complains of a bad number before anything is read or trained.
    if directory is not None:
        for key in chosen:
            require(False, f"--{key}: the --run has its own; give one or the other.")
        dataset = load_dataset(Run(directory), data_dir)
        model = load_defense(Run(directory)).defend()
    else:
        classifier = choose_classifier(chosen, unsafe_load) if "classifier" in chosen else None
        dataset = load_data(chosen, data_dir)
        if classifier is None:
            classifier = choose_default_classifier(chosen, dataset)
        model = classifier.open(dataset, "runs", DEFAULTS["seed"])
    split = getattr(dataset, part)
    split = split if count is None else split.take(count)
    attack = make(name, **given)
    if "epsilon" not in given and getattr(attack, "epsilon", None) is not None:
        radius = default_epsilon(dataset.image_shape, attack.norm)
        attack = dataclasses.replace(attack, epsilon=radius)
    examples = craft(model, split, attack, part, batch_size, output)
    save_summary(examples, split)
    print(f"\n{summary_table(examples, split)}")
    print(f"\nExamples       {examples.run.path / 'shards'}")
    print(f"Summary        {examples.run.path / 'summary.json'}")
