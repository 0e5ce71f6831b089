"""bin/evaluate: attack a trained defence and report; or compare reports."""

from collections.abc import Callable
from pathlib import Path

from tfdefense import data, zoo
from tfdefense.cli.devices import add_device_flags, pop_device_flags, selected_devices
from tfdefense.cli.evaluation_flags import (
    add_evaluation_flags,
    evaluation_from_flags,
    pop_max_hours,
)
from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import (
    add_classifier_flags,
    add_data_flags,
    add_hyperparameter_flags,
    parse_inputs,
)
from tfdefense.cli.printing import print_failures, print_paths, print_report
from tfdefense.defenses.registry import DEFENSES
from tfdefense.errors import UserError, require
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.report.comparison import compare_runs
from tfdefense.evaluation.run_evaluation import evaluate_run, require_evaluation_time
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.evaluate import (
    EvaluationTarget,
    find_target,
    guarding_directory,
    load_target,
    load_target_before,
)
from tfdefense.experiments.from_flags import classifier_from_flags, experiment_from_flags
from tfdefense.experiments.inputs import CLASSIFIER_FLAGS, ClassifierSelection
from tfdefense.experiments.load import make_image_place
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.tables import text_table


def command_flags() -> CommandFlags:
    """Return the flags of `bin/evaluate`."""
    flags = CommandFlags(
        "bin/evaluate",
        "attacks the defence of a run and writes report.html, report.md, report.json and figures. For a"
        " defence that does not learn, --defense=NAME creates the run.",
        words_flag="compare",
    )
    flags.add(
        "what",
        "run",
        str,
        "Run directory that bin/train wrote. --dataset then names its images at another path.",
    )
    flags.add(
        "what",
        "defense",
        str,
        f"Instead of --run, a defence: {', '.join(DEFENSES.names())}; or several in sequence, a+b. One"
        " that learns must be trained already.",
    )
    flags.add(
        "what",
        "pretrained",
        str,
        "Instead of both, a purifier of the package in front of the classifier that it was trained"
        " with, or of --classifier, such as robust_purifier/mnist/mnist_cnn; tfdefense.zoo.names()"
        " lists them. The report is written into runs/pretrained-NAME, or into guarding-CLASSIFIER"
        " in it.",
    )
    flags.add(
        "what",
        "compare",
        list,
        "Instead of these, several run directories, RUN RUN ..., whose reports are put into one table and"
        " one figure.",
    )
    flags.add(
        "what", "output", str, "Directory that --compare writes to (default: runs/comparison)."
    )
    add_data_flags(flags)
    add_classifier_flags(
        flags,
        "Classifier that the defence guards; with --run or --pretrained, instead of the one that it was"
        " trained with.",
    )
    flags.add("how", "seed", int, "Seed of a defence that draws random numbers (default: 0).")
    add_hyperparameter_flags(flags)
    add_evaluation_flags(flags)
    add_device_flags(flags)
    return flags


def run(given: FlagValues) -> None:
    """Evaluate a run, or compare runs; print the table."""
    if "compare" in given or "output" in given:
        _compare(given)
        return
    _evaluate(parse_inputs(given))


def _compare(given: FlagValues) -> None:
    require("compare" in given, "--output: only --compare takes it.")
    for name in given.keys() - {"compare", "output"}:
        raise UserError(f"--{name}: --compare uses existing reports and takes only --output.")
    comparison = compare_runs([RunDirectory(path, "compare") for path in given["compare"]])
    directory = Path(given.get("output", "runs/comparison"))
    comparison.save(directory)
    print("\n".join(text_table(comparison.table())))
    for name, report in comparison.reports.items():
        print_failures(report, f"{name}: ")
    print()
    print_paths({"Comparison": directory / "comparison.html"})


def _evaluate(given: FlagValues) -> None:
    devices = pop_device_flags(given)
    evaluation, max_hours = evaluation_from_flags(given) or EvaluationConfig(), pop_max_hours(given)
    data_dir, unsafe_load = given.pop("data_dir", None), given.pop("unsafe_load", False)
    load = _make_target_loader(
        given, evaluation, ExperimentContext(data_dir, unsafe_load=unsafe_load)
    )
    with selected_devices(devices):
        target = load()
        require_evaluation_time(target.defense, target.dataset, evaluation, max_hours=max_hours)
        print_report(evaluate_run(target.run, target.defense, target.dataset, evaluation))
        print()
        print_paths({"Report": target.run.path / "report.html"})


def _make_target_loader(
    given: FlagValues, evaluation: EvaluationConfig, context: ExperimentContext
) -> Callable[[], EvaluationTarget]:
    """Return a function that loads the defence that the flags name."""
    name, directory = given.pop("pretrained", None), given.pop("run", None)
    if name is not None:
        require(directory is None, f"--pretrained={name}: --run given too. Give one or the other.")
        for other in sorted(given.keys() - set(CLASSIFIER_FLAGS)):
            raise UserError(f"--{other}: --pretrained has its own. Leave it out.")
        other_classifier = _other_classifier(given)
        pretrained = zoo.load(name)
        return lambda: _put_before_classifier(pretrained, other_classifier, context)
    if directory is None:
        require("defense" in given, "--run: none given, and no --defense instead of it.")
        experiment = experiment_from_flags(given, evaluation=evaluation)
        return lambda: find_target(experiment, context, given.keys())
    run = RunDirectory(directory)
    run.require_kind("defense")
    place = make_image_place(run, context.data_dir, given.pop("dataset", None))
    for name in sorted(given.keys() - set(CLASSIFIER_FLAGS)):
        raise UserError(f"--{name}: --run has its own. Give one or the other.")
    classifier = _other_classifier(given)
    if classifier is None:
        return lambda: load_target(run, place)
    return lambda: load_target_before(run, classifier, context, place)


def _other_classifier(given: FlagValues) -> ClassifierSelection | None:
    """Return the classifier that a trained defence is put in front of; None for its own."""
    if not given:
        return None
    require("classifier" in given, f"--{min(given)}: needs --classifier, which it describes.")
    return classifier_from_flags(given)


def _put_before_classifier(
    pretrained: zoo.Pretrained, selection: ClassifierSelection | None, context: ExperimentContext
) -> EvaluationTarget:
    """Return a purifier of the package with its dataset; the run directory need not exist.

    Args:
      pretrained: the purifier.
      selection: another classifier behind it; None for the one that it was trained with.
      context: directories and permissions.

    Raises:
      UserError: the classifier cannot be opened, or takes other images or gives other classes.
    """
    dataset = data.load(pretrained.name.split("/")[1], context.data_dir)
    directory = Path(context.runs_dir) / f"pretrained-{pretrained.name.replace('/', '-')}"
    if selection is None:
        classifier = pretrained.classifier()
    else:
        with context.trust():
            found = selection.find()
            classifier = found.open(dataset, context.runs_dir, pretrained.seed)
        directory = guarding_directory(directory, found)
    multi_worker.run_on_chief(lambda: directory.mkdir(parents=True, exist_ok=True))
    return EvaluationTarget(RunDirectory(directory), pretrained.before(classifier), dataset)
