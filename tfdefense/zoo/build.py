"""Command that adds trained purifiers to the zoo, each with a card from its report.

python -m tfdefense.zoo.build RUN ...
python -m tfdefense.zoo.build --unreliable NAME REASON

Each RUN is a run directory of bin/train or bin/reproduce that bin/evaluate has evaluated. With
--unreliable, the card of the purifier NAME says REASON, and loading it warns: for a card whose figure
a stronger attack has lowered.
"""

import dataclasses
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.evaluation.report.render import accuracy_table_lines, failed_check_lines
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.load import load_dataset, load_defense
from tfdefense.experiments.own_report import fits_model, load_own_report
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.progress import print_line
from tfdefense.zoo.pretrained import (
    MODELS,
    Pretrained,
    load_pretrained,
    mark_unreliable,
    save_pretrained,
)

_COLUMNS = 100


@dataclasses.dataclass(frozen=True)
class _TrainingFacts:
    """Facts for the card that neither the purifier nor its report has.

    Attributes:
      settings: settings of the run, by flag name.
      has_init_run: whether training began with the weights of another run.
      agreement: on how many test images float16 and float32 weights give the same class, such as
        "359 of 360".
      data_note: warning about the dataset, or "".
    """

    settings: Mapping[str, Any]
    has_init_run: bool
    agreement: str
    data_note: str


def add_run(run: RunDirectory, models: Path = MODELS) -> str:
    """Add the trained purifier of a run and return its name.

    Args:
      run: run directory of a trained defence, with a report.
      models: directory of the purifiers.

    Returns:
      "<defense>/<dataset>/<classifier that it was trained with>".

    Raises:
      UserError: a run without a report, or with one that is damaged or about another defence,
        another classifier or other test images; or of a defence without networks.
    """
    defense, stored = load_defense(run), run.require_kind("defense")
    settings = stored.settings
    require(bool(defense.networks()), f"RUN={run.path}: {defense.name} does not learn.")
    report = load_own_report(run, defense)
    if report is None:
        raise UserError(
            f"RUN={run.path}: has no report. Write one with: bin/evaluate --run={run.path}"
        )
    name = f"{defense.name}/{settings['dataset']}/{defense.trained_with}"
    dataset = load_dataset(run)
    require(
        fits_model(report, defense, dataset),
        f"RUN={run.path}: the test images or the classifier changed since its report. Make it again with:"
        f" bin/evaluate --run={run.path}",
    )
    test = dataset.test
    with tempfile.TemporaryDirectory() as scratch:  # A failure leaves the purifiers as they are.
        save_pretrained(defense, name, "", Path(scratch))
        pretrained = load_pretrained(name, Path(scratch))
    stored_defense = pretrained.before(defense.classifier)
    float32 = ModelRunner(defense.defend(), defense.batch_size).predict(test)
    float16 = ModelRunner(stored_defense.defend(), defense.batch_size).predict(test)
    agreement = f"{int((float32 == float16).sum()):,} of {len(test):,}"
    has_init_run = stored.metadata_value("init_run", str | None, None) is not None
    facts = _TrainingFacts(settings, has_init_run, agreement, test.note)
    directory = save_pretrained(defense, name, _make_card(pretrained, report, facts), models)
    print_line(
        f"{name}: float16 weights give the class of float32 weights on {agreement} clean test images."
        f" {directory}"
    )
    return name


def _make_card(pretrained: Pretrained, report: Report, facts: _TrainingFacts) -> str:
    """Return the card, as Markdown."""
    settings, images = facts.settings, facts.settings.get("train_images")
    hyperparameters = ", ".join(
        f"{name}={value}" for name, value in pretrained.hyperparameters.items() if value is not None
    )
    lines = [
        f"# {pretrained.name}",
        "",
        f"Purifier of {pretrained.defense}, trained on {settings['dataset']}. It takes images"
        f" {pretrained.image_shape} in [0, 1] and returns purified images.",
        "",
        report.summary,
        "",
        *failed_check_lines(report),
        *accuracy_table_lines(report),
        "",
        *(f"- {attack}" for attack in report.attacks),
        *(f"- {note}" for note in report.notes),
        f"- {settings['epochs']} passes over"
        f" {'all' if images is None else f'the first {images:,}'} training images, seed"
        f" {pretrained.seed}; {hyperparameters}.",
        *(["- Training began with the weights of another run."] if facts.has_init_run else []),
        "- Weights are stored in float16. On clean test images they give the class of the float32"
        f" weights {facts.agreement} times.",
        f"- Versions: {', '.join(f'{key} {value}' for key, value in package_versions().items())}.",
        *([f"- {facts.data_note}"] if facts.data_note not in ("", *report.notes) else []),
        "",
    ]
    return "\n".join(wrapped for line in lines for wrapped in _wrap_line(line))


def _wrap_line(line: str) -> list[str]:
    """Return a line of Markdown as lines of at most 100 columns; headings and tables stay whole."""
    if not line or line.startswith(("#", "|")):
        return [line]
    return textwrap.wrap(
        line,
        _COLUMNS,
        subsequent_indent="  " if line.startswith("- ") else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: Sequence[str]) -> int:
    """Add the purifiers of all given runs, or mark one, and return the exit status."""
    try:
        if arguments[:1] == ["--unreliable"]:
            require(len(arguments) == 3, "--unreliable: a name and a reason in quotes are needed.")
            mark_unreliable(arguments[1], arguments[2])
            return 0
        require(
            bool(arguments),
            "RUN: none given. Run directories that bin/evaluate has evaluated are needed.",
        )
        for path in arguments:
            add_run(RunDirectory(Path(path), "RUN"))
    except (UserError, WorkFailedError) as error:
        print(f"tfdefense.zoo.build: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
