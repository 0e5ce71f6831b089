"""What somebody who finds the exported model must know before she trusts it."""

from collections.abc import Sequence
from pathlib import Path

from tfdefense.evaluation.report.render import failed_checks, table_and_meaning
from tfdefense.evaluation.report.report import Report
from tfdefense.serving.exporter.signatures import CERTIFY_ALPHA, CERTIFY_VOTES, Signatures
from tfdefense.serving.exporter.variant import Variant
from tfdefense.serving.exporter.variant_accuracy import Kept
from tfdefense.training.run_directory import versions
from tfdefense.utils.statistics import wilson
from tfdefense.utils.tables import markdown_table, share_cell

_NOT_JUDGED = (
    "**This model has not been attacked: nothing is known of what it withstands.** `bin/evaluate --run=DIR` attacks it, and"
    " the next export says what came of it."
)


def model_card(
    signatures: Signatures,
    variant: Variant,
    path: Path,
    class_names: Sequence[str],
    report: Report | None,
    kept: Sequence[Kept],
) -> str:
    """`model_card.md`.

    Args:
      signatures, variant: what was exported.
      path: `<model>/<version>`.
      class_names: K names.
      report: what was measured of the defence; None if nothing was.
      kept: what the variant keeps of it; empty where it is the defence itself, or was not compared.
    """
    defense, classifier = signatures.defense, signatures.classifier
    return "\n".join(
        [
            f"# {path.parent.name}, version {path.name}",
            "",
            f"{defense.name} before the classifier {classifier.name}{_dataset(report)}: images are purified, then classified.",
            "",
            *_what_it_withstands(report),
            *_what_is_kept(variant, kept),
            "## What goes in and what comes out",
            "",
            *_interface(signatures, variant, class_names),
            "",
            "## How it was made",
            "",
            *(
                f"- {name}: {value}"
                for name, value in vars(defense.config).items()
                if value is not None
            ),
            f"- seed: {defense.seed}",
            *([f"- trained before: {defense.trained_with}"] if defense.networks() else []),
            f"- versions: {', '.join(f'{name} {number}' for name, number in versions().items())}",
            "",
        ]
    )


def _what_it_withstands(report: Report | None) -> list[str]:
    head = ["## What it withstands", ""]
    if report is None:
        return [*head, _NOT_JUDGED, ""]
    notes = [f"- {note}" for note in report.notes]
    return [
        *head,
        report.summary,
        "",
        *failed_checks(report),
        *table_and_meaning(report),
        *notes,
        "",
    ]


def _dataset(report: Report | None) -> str:
    return f" of {report.rows[0].dataset}" if report is not None else ""


def _what_is_kept(variant: Variant, kept: Sequence[Kept]) -> list[str]:
    if variant.is_plain:
        return []
    head = [
        "## What this variant keeps",
        "",
        f"The figures above are of the defence in float32. This is {variant.format} with weights in {variant.precision}.",
        "",
    ]
    if not kept:
        return [*head, "It was not compared with it.", ""]
    return [*head, *markdown_table(kept_table(kept)), ""]


def kept_table(kept: Sequence[Kept]) -> list[list[str]]:
    """Header and one line for each kind of images."""

    def share(count: int, n: int) -> str:
        return share_cell(count / n, *wilson(count, n), n)

    header = ["images", "the defence", "this variant", "same class", "logits differ by at most"]
    return [header] + [
        [
            each.images,
            share(each.before, each.n),
            share(each.after, each.n),
            f"{each.same:,} of {each.n:,}",
            f"{each.furthest:.2g}",
        ]
        for each in kept
    ]


def _interface(signatures: Signatures, variant: Variant, class_names: Sequence[str]) -> list[str]:
    height, width, channels = signatures.image_shape
    images = f"`images` float32 [N, {height}, {width}, {channels}] in [0, 1]"
    answers = (
        f"`purified` float32 [N, {height}, {width}, {channels}], `perturbation_norm` float32 [N] (L2 norm of what purifying"
        f" changed), `logits` and `probabilities` float32 [N, {len(class_names)}], `classes` int64 [N]"
    )
    if signatures.defense.detects:
        answers += ", `refused` bool [N] (do not believe the class of these)"
    named = ", ".join(f"{index} is {name}" for index, name in enumerate(class_names[:20]))
    more = f", and {len(class_names) - 20} more" if len(class_names) > 20 else ""
    lines = [["signature", "takes", "gives"], ["`serving_default`", images, answers]]
    after = f"Classes: {named}{more} (`class_names.txt`)."
    if variant.format == "tflite":
        return [*markdown_table(lines), "", f"{after} Inputs are not checked."]
    lines += [
        ["`purify`", images, "`purified`"],
        ["`classify`", images, "`logits`, `probabilities`, `classes`, without purifying"],
        [
            "`serving_bytes`",
            "`image_bytes` string [N]: PNG or JPEG files",
            "as `serving_default`",
        ],
    ]
    if signatures.defense.certifies:
        sure = (
            f"`classes` int64 [N], -1 where none is sure, and `radii` float32 [N]: L2 norms within which no change turns the"
            f" class ({CERTIFY_VOTES:,} votes, right with probability {1 - CERTIFY_ALPHA:g})"
        )
        lines.append(["`certify`", images, sure])
    return [
        *markdown_table(lines),
        "",
        f"{after} A request brings at most {variant.max_batch:,} images; one of another size, range or type is"
        " refused with INVALID_ARGUMENT and a sentence.",
    ]
