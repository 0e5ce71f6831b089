"""Puts trained purifiers into the zoo, each with what its report says.

python -m tfdefense.zoo.build RUN ...       # run directories of bin/train, or of bin/reproduce, that bin/evaluate has judged
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tfdefense.errors import UserError, WorkFailedError, require
from tfdefense.evaluation.protocol import saved_report
from tfdefense.evaluation.report.render import failed_check_lines, accuracy_table_lines
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.experiments.load import load_dataset, load_defense
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.progress import print_line
from tfdefense.zoo.pretrained import MODELS, Pretrained, load, save_pretrained


def build(run: RunDirectory, models: Path = MODELS) -> str:
    """Writes the model of a run; returns its name, "<defense>/<dataset>/<classifier that it was trained before>".

    Args:
      run: of a purifier, with a report.
      models: where to.

    Raises:
      UserError: a run without a report or without a purifier.
    """
    defense, stored = load_defense(run), run.require_kind("defense")
    settings = stored.settings
    require(defense.networks(), f"RUN={run.path}: {defense.name} has learned nothing.")
    report = saved_report(run, None)
    require(report is not None, f"RUN={run.path}: no report in it; bin/evaluate makes one.")
    name = f"{defense.name}/{settings['dataset']}/{defense.trained_with}"
    directory = save_pretrained(defense, name, "", models)
    test = load_dataset(run).test
    pretrained = load(name, models)
    before = ModelRunner(defense.defend(), defense.batch_size).predict(test)
    after = ModelRunner(pretrained.before(defense.classifier).defend(), defense.batch_size).predict(test)
    kept = f"{int((before == after).sum()):,} of {len(test):,}"
    begun = stored.fact("init_run", str | None, None) is not None
    write_text_file(directory / "card.md", _card(pretrained, settings, begun, report, kept, test.note))
    print_line(f"{name}: the class that float32 weights give on {kept} clean test images. {directory}")
    return name


def _card(
    pretrained: Pretrained, settings: dict, begun: bool, report: Report, kept: str, note: str
) -> str:
    ways = ", ".join(
        f"{name}={value}" for name, value in pretrained.hyperparameters.items() if value is not None
    )
    images = settings.get("train_images")
    lines = [
        f"# {pretrained.name}",
        "",
        f"The purifier of {pretrained.defense}, trained on {settings['dataset']}: images {pretrained.image_shape} in [0, 1] go in,"
        " and come out cleaned.",
        "",
        report.summary,
        "",
        *failed_check_lines(report),
        *accuracy_table_lines(report),
        "",
        *(f"- {attack}" for attack in report.attacks),
        *(f"- {each}" for each in report.notes),
        f"- {settings['epochs']} passes over {'all' if images is None else f'the first {images:,}'} training images, seed"
        f" {pretrained.seed}; {ways}.",
        *(["- It began with the networks of another training."] if begun else []),
        f"- Weights are kept in float16. On clean test images they give the class of the float32 ones {kept} times.",
        f"- Versions: {', '.join(f'{key} {value}' for key, value in package_versions().items())}.",
        *([f"- {note}"] if note else []),
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        require(bool(arguments), "RUN: one or more run directories needed, judged by bin/evaluate.")
        for path in arguments:
            build(RunDirectory(Path(path), "RUN"))
    except (UserError, WorkFailedError) as error:
        print(f"tfdefense.zoo.build: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
