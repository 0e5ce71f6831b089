"""Model card: a page on what an exported model does and how robust it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfdefense.evaluation.report.render import accuracy_table_lines, failed_check_lines
from tfdefense.evaluation.report.report import Report
from tfdefense.serving.exporter.operations import GraphRequirements
from tfdefense.serving.exporter.requirements_section import requirements_section
from tfdefense.serving.exporter.runtimes_section import runtimes_section
from tfdefense.serving.exporter.signatures import CERTIFY_ALPHA, CERTIFY_VOTES, Signatures
from tfdefense.serving.exporter.suspicion_section import suspicion_section
from tfdefense.serving.exporter.variant import Variant
from tfdefense.serving.exporter.variant_accuracy import VariantAccuracy
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.real_path import real_path
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import escape_markdown, format_share, markdown_table

_NOT_EVALUATED = (
    "**This model has not been attacked: its robustness is unknown.** `bin/evaluate --run=DIR` attacks it; export it again"
    " afterwards to include the results."
)
_MAX_CLASSES_LISTED = 20


@dataclasses.dataclass(frozen=True)
class ModelContents:
    """Contents of an exported model.

    Attributes:
      class_names: K names.
      requirements: what a server needs to load the graph; None for TFLite.
      signature_operations: signature -> operations that it needs; empty for TFLite.
      warmup_sizes: numbers of images of the warm-up requests; empty if there are none.
      accuracies: comparison of the variant with the defence; empty if there is none.
    """

    class_names: Sequence[str]
    requirements: GraphRequirements | None = None
    signature_operations: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    warmup_sizes: Sequence[int] = ()
    accuracies: Sequence[VariantAccuracy] = ()


def model_card(
    signatures: Signatures,
    variant: Variant,
    path: Path,
    contents: ModelContents,
    report: Report | None,
) -> str:
    """Return the text of `model_card.md`.

    Args:
      signatures: signatures of the exported model.
      variant: file format and precision of the exported model.
      path: directory of the exported model, `<model>/<version>`.
      contents: what was written.
      report: report of the defence; None if it was not evaluated.
    """
    defense, classifier = signatures.defense, signatures.classifier
    dataset = f" for {report.rows[0].dataset}" if report is not None else ""
    return "\n".join(
        [
            f"# {real_path(path.parent).name}, version {path.name}",
            "",
            f"The purifier {defense.name} in front of the classifier {classifier.name}{dataset}: each image is purified, then"
            " classified.",
            "",
            *_robustness(report),
            *_variant_section(variant, contents.accuracies),
            "## Inputs and outputs",
            "",
            *_interface(signatures, variant, contents.class_names),
            "",
            *suspicion_section(signatures.suspicion, report),
            *requirements_section(
                contents.requirements, contents.warmup_sizes, certifies=defense.certifies
            ),
            *runtimes_section(contents.signature_operations, variant.precision),
            "## Training settings",
            "",
            *(
                f"- {name}: {value}"
                for name, value in vars(defense.config).items()
                if value is not None
            ),
            f"- seed: {defense.seed}",
            *([f"- trained in front of: {defense.trained_with}"] if defense.networks() else []),
            f"- versions: {', '.join(f'{name} {number}' for name, number in package_versions().items())}",
            "",
        ]
    )


def _robustness(report: Report | None) -> list[str]:
    heading = ["## Robustness", ""]
    if report is None:
        return [*heading, _NOT_EVALUATED, ""]
    notes = [f"- {note}" for note in report.notes]
    return [
        *heading,
        report.summary,
        "",
        *failed_check_lines(report),
        *accuracy_table_lines(report),
        *notes,
        "",
    ]


def _variant_section(variant: Variant, accuracies: Sequence[VariantAccuracy]) -> list[str]:
    if variant.is_plain:
        return []
    heading = [
        "## Accuracy of this variant",
        "",
        f"The results above are of the defence in float32. This model is a {variant.format} with {variant.precision} weights.",
        "",
    ]
    if not accuracies:
        return [*heading, "Its accuracy was not compared with that of the defence.", ""]
    return [*heading, *markdown_table(variant_table(accuracies)), ""]


def variant_table(accuracies: Sequence[VariantAccuracy]) -> list[list[str]]:
    """Return a header and one row for each kind of images.

    The column "same refusal" is there only for a defence that detects.
    """
    detects = any(each.same_refusal is not None for each in accuracies)

    def share(count: int, n: int) -> str:
        return format_share(count / n, *wilson_interval(count, n), n)

    header = ["images", "the defence", "this variant", "same class"]
    header += ["same refusal"] if detects else []
    return [[*header, "largest logit difference"]] + [
        [
            each.images,
            share(each.defense_correct, each.n),
            share(each.variant_correct, each.n),
            f"{each.same_class:,} of {each.n:,}",
            *([f"{each.same_refusal:,} of {each.n:,}"] if detects else []),
            f"{each.max_logit_difference:.2g}",
        ]
        for each in accuracies
    ]


def _interface(signatures: Signatures, variant: Variant, class_names: Sequence[str]) -> list[str]:
    height, width, channels = signatures.image_shape
    images = f"`images` float32 [N, {height}, {width}, {channels}] in [0, 1]"
    outputs = (
        f"`purified` float32 [N, {height}, {width}, {channels}], `perturbation_norm` float32 [N] (L2 norm of the change made"
        f" by purifying), `logits` and `probabilities` float32 [N, {len(class_names)}], `classes` int64 [N]"
    )
    if signatures.defense.detects:
        outputs += (
            ", `refused` bool [N] (true: the image was detected as adversarial, ignore its class)"
        )
    purified = "`purified`"
    if signatures.suspicion is not None:
        purified += ", `suspicion`"
        outputs += ", `suspicion` float32 [N] in [0, 1] (see below)"
    lines = [["signature", "input", "outputs"], ["`serving_default`", images, outputs]]
    classes = _class_list(class_names)
    if variant.format == "tflite":
        return [*markdown_table(lines), "", f"{classes} The model does not check its inputs."]
    lines += [
        ["`purify`", images, purified],
        ["`classify`", images, "`logits`, `probabilities`, `classes`, without purifying"],
        [
            "`serving_bytes`",
            "`image_bytes` string [N]: PNG or JPEG files",
            "as `serving_default`",
        ],
    ]
    if signatures.defense.certifies:
        certified = (
            "`classes` int64 [N], -1 where the model abstains, and `radii` float32 [N]: within this L2 radius no change"
            f" alters the class ({CERTIFY_VOTES:,} votes; correct with probability {1 - CERTIFY_ALPHA:g})"
        )
        lines.append(["`certify`", images, certified])
    return [
        *markdown_table(lines),
        "",
        f"{classes} A request takes at most {variant.request_limit:,} images. The model rejects images of another size, range or"
        " type with INVALID_ARGUMENT and a sentence that names the mistake.",
    ]


def _class_list(class_names: Sequence[str]) -> str:
    listed = class_names[:_MAX_CLASSES_LISTED]
    # An empty name is shown as "".
    shown = [escape_markdown(name) or '""' for name in listed]
    text = ", ".join(f"{index} is {name}" for index, name in enumerate(shown))
    rest = len(class_names) - len(listed)
    return f"Classes: {text}{f', and {rest} more' if rest else ''} (`class_names.json`)."
