"""bin/attack: make adversarial images and save them."""

import dataclasses
import functools
from collections.abc import Callable

from tfdefense.attacks import ATTACKS, Attack, default_epsilon, make_attack
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    count_missing_images,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.hyperparameters import Hyperparameter, list_hyperparameters
from tfdefense.attacks.core.radius import with_epsilon
from tfdefense.cli.devices import add_device_flags, pop_device_flags, selected_devices
from tfdefense.cli.evaluation_flags import add_max_hours_flag, pop_max_hours
from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import add_classifier_flags, add_data_flags, parse_inputs
from tfdefense.cli.printing import print_paths
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.evaluation.attack_summary import format_attack_summary, save_attack_summary
from tfdefense.evaluation.attack_time import PlannedAttack, require_time
from tfdefense.experiments.attack import AttackTarget, load_classifier_target, load_pipeline
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import classifier_from_flags, data_from_flags
from tfdefense.experiments.inputs import CLASSIFIER_FLAGS, DATA_FLAGS
from tfdefense.experiments.load import make_image_place
from tfdefense.training.run_directory import SHARDS, RunDirectory

_SPLITS = ("test", "train", "validation")
_TARGET_FLAGS = (*DATA_FLAGS, *CLASSIFIER_FLAGS, "run", "data_dir", "unsafe_load")


def command_flags() -> CommandFlags:
    """Return the flags of `bin/attack`."""
    flags = CommandFlags(
        "bin/attack",
        "makes adversarial images and saves them as float32, for training and for other programs. To"
        " resume it, repeat the command: it finds the images that are there and makes the rest.",
    )
    flags.add("what", "attack", str, f"Attack: {', '.join(ATTACKS.names())}.")
    add_data_flags(flags)
    add_classifier_flags(flags, "Classifier to attack.")
    flags.add(
        "what",
        "run",
        str,
        "Instead of dataset and classifier: a run directory of bin/train, whose purifier and classifier"
        " are attacked together (white box). --dataset then names its images at another path.",
    )
    flags.add("what", "split", str, f"Split to attack: {', '.join(_SPLITS)} (default: test).")
    flags.add("what", "images", int, "Number of images, the first of the split (default: all).")
    flags.add(
        "where",
        "output",
        str,
        "Directory (default: runs/attacks/<dataset>-<split>-<classifier>-<attack>-<hash>).",
    )
    add_max_hours_flag(flags, "how")
    flags.add(
        "how",
        "batch_size",
        int,
        "Images in a batch, and in a file (default: 250, or fewer if the images are large).",
    )
    add_device_flags(flags)
    for option in list_hyperparameters():
        flags.add_typed("the attack", option.name, option.annotation, _help(option))
    return flags


def _help(option: Hyperparameter) -> str:
    if option.name == "epsilon":
        return (
            "Radius of the ball around each image; in [0, 1] for linf (default: 0.3 for grey images,"
            " 8/255 for colour; for l2 1.5 and 0.5; fab_t, hop_skip_jump: none)."
        )
    shown = {str(default) for default in option.defaults.values()}
    defaults = (
        shown.pop()
        if len(shown) == 1
        else ", ".join(f"{name} {default}" for name, default in option.defaults.items())
    )
    return f"{option.help[:1].upper()}{option.help[1:]} (default: {defaults})"


@dataclasses.dataclass(frozen=True)
class _Request:
    """Adversarial images that the flags ask for.

    Attributes:
      attack: the attack; without `--epsilon`, with the radius of its class.
      has_epsilon: whether `--epsilon` gives its radius.
      part: name of the split.
      images: number of images; None for all.
      storage: where the images go.
      max_hours: the limit of `--max_hours`.
      load_target: loads the model and the images.
    """

    attack: Attack
    has_epsilon: bool
    part: str
    images: int | None
    storage: AdversarialStorage
    max_hours: float
    load_target: Callable[[], AttackTarget]


def run(given: FlagValues) -> None:
    """Attack; print the summary and where the images are."""
    given = parse_inputs(given)
    devices = pop_device_flags(given)
    request = _parse_request(given)
    with selected_devices(devices):
        _attack(request)


def _parse_request(given: FlagValues) -> _Request:
    require("attack" in given, f"--attack: none given. Known: {', '.join(ATTACKS.names())}.")
    name = ATTACKS.check(given.pop("attack"))
    part, count = given.pop("split", "test"), given.pop("images", None)
    if part not in _SPLITS:
        raise unknown_name("--split", part, _SPLITS)
    require(count is None or count >= 1, f"--images={count}: at least 1 is needed.")
    output, batch_size = given.pop("output", None), given.pop("batch_size", None)
    max_hours = pop_max_hours(given)
    target_flags = {key: given.pop(key) for key in _TARGET_FLAGS if key in given}
    attack = make_attack(name, **given)
    return _Request(
        attack,
        "epsilon" in given,
        part,
        count,
        AdversarialStorage(part, batch_size, output),
        max_hours,
        _make_target_loader(target_flags, attack),
    )


def _attack(request: _Request) -> None:
    target, attack, storage = request.load_target(), request.attack, request.storage
    split = getattr(target.dataset, request.part)
    split = split if request.images is None else split.take(request.images)
    if not request.has_epsilon and getattr(attack, "epsilon", None) is not None:
        radius = default_epsilon(target.dataset.image_shape, getattr(attack, "norm", "linf"))
        attack = with_epsilon(attack, radius)
    missing = functools.partial(count_missing_images, target.model, split, attack, storage)
    planned = PlannedAttack(attack, target.model, split, missing)
    require_time([planned], request.max_hours, "--images")
    examples = make_adversarial_dataset(target.model, split, attack, storage)
    save_attack_summary(examples, split)
    print(f"\n{format_attack_summary(examples, split)}\n")
    path = examples.directory.path
    print_paths({"Examples": path / SHARDS, "Summary": path / "summary.json"})


def _make_target_loader(given: FlagValues, attack: Attack) -> Callable[[], AttackTarget]:
    """Return a function that loads the model and the images that the flags name."""
    directory = given.pop("run", None)
    context = ExperimentContext(
        given.pop("data_dir", None), unsafe_load=given.pop("unsafe_load", False)
    )
    if directory is None:
        images, classifier = data_from_flags(given), classifier_from_flags(given)
        return lambda: load_classifier_target(images, classifier, context, attack)
    dataset = given.pop("dataset", None)
    for key in given:
        raise UserError(f"--{key}: --run has its own. Give one or the other.")
    run = RunDirectory(directory)
    place = make_image_place(run, context.data_dir, dataset)
    return lambda: load_pipeline(run, place)
