"""A report as data: rows, checks, and what else `report.json` holds."""

import dataclasses
import json
from typing import Any

import numpy as np

from tfdefense.evaluation.checks.check import CheckResult
from tfdefense.evaluation.detection import Detection
from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.recovery import Recovery
from tfdefense.evaluation.report.accuracy_table import accuracy_table
from tfdefense.evaluation.report.summary import summarize
from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.surrogate_findings import SurrogateFinding
from tfdefense.evaluation.suspicion_findings import SuspicionFinding
from tfdefense.evaluation.threat_models import (
    ANY_WHITE_BOX,
    REPORTED_THREAT_MODELS,
    THREAT_MODEL_TITLES,
    WHITE_BOX_EOT,
)
from tfdefense.utils.csv_cells import rows_as_csv
from tfdefense.utils.json_types import typed_items, typed_value
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.untrusted_file import parse_json

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Report:
    """Result of one evaluation.

    Attributes:
      rows: measured accuracies.
      attacks: for each attack, its class and all hyperparameters as Python code.
      checks: results of the checks; "sanity" in `report.json`.
      notes: sentences that a reader needs to interpret the rows.
      settings: `EvaluationConfig.settings` of the evaluation, by which a later call recognises it.
      detections: what the detector refuses; empty without a detector.
      recoveries: share of fooling images that purification recovers; "restored" in `report.json`.
      curve: accuracies "undefended", "grey_box" and "white_box" at each "epsilon", with the number of
        images "n", of PGD steps "steps" and of "classes"; empty if it was left out.
      check_effort: what the checks did: "checks" (keys of those that ran), "probes" (keys of those of
        `sizes.PROBES` that ran), "images", "steps", "draws", "queries", "curve" (whether it was
        measured), "epsilon" of their own attacks,
        "adapted" (whether the sizes are smaller than the budget of the defence, or the curve has
        fewer radii, to save time), "seconds" and "report_seconds"; empty without checks.
      surrogates: what white-box attacks found through each surrogate gradient; empty if the defence
        declares no choice.
      fingerprints: hashes of "classifier", "images" and "source" (the classifier that transfer attacks
        attack), which tell apart others of the same name. A classifier that is not a Keras model has
        none.
      largest_class: share of the most frequent class among the test images; None in a report of an
        earlier version.
      suspicion: quality of the output `suspicion` of an export, for clean images and attackers;
        empty if it has none, or without checks or validation images.
      labels: true classes int32 [N]; None in a report that was read from a file.
      per_image: "defense/attack/threat_model" -> results per image; empty in a report that was read
        from a file.
      worst_cases: "defense/worst_case/threat_model" -> results of the attack that fooled each image
        first; empty in a report that was read from a file.
    """

    rows: tuple[ResultRow, ...]
    attacks: tuple[str, ...]
    checks: tuple[CheckResult, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    detections: tuple[Detection, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    curve: dict[str, Any] = dataclasses.field(default_factory=dict)
    check_effort: dict[str, Any] = dataclasses.field(default_factory=dict)
    surrogates: tuple[SurrogateFinding, ...] = ()
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    largest_class: float | None = None
    suspicion: tuple[SuspicionFinding, ...] = ()
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    per_image: dict[str, PerImageResults] = dataclasses.field(default_factory=dict, repr=False)
    worst_cases: dict[str, PerImageResults] = dataclasses.field(default_factory=dict, repr=False)

    def row(self, defense: str, attack: str, threat_model: str) -> ResultRow | None:
        """Return the row of a pipeline, an attack and a threat model, or None."""
        for row in self.rows:
            if (row.defense, row.attack, row.threat_model) == (defense, attack, threat_model):
                return row
        return None

    def existing_row(self, defense: str, attack: str, threat_model: str) -> ResultRow:
        """Return the row of a pipeline, an attack and a threat model; raise `KeyError` if there is none."""
        row = self.row(defense, attack, threat_model)
        if row is None:
            raise KeyError(f"{defense}/{attack}/{threat_model}")
        return row

    @property
    def defense(self) -> str:
        """Name of the evaluated defence."""
        return next((row.defense for row in self.rows if row.defense != "none"), "none")

    @property
    def pipeline_names(self) -> list[str]:
        """Names of the defended pipelines: the defence, and with a detector also without it."""
        return list(dict.fromkeys(row.defense for row in self.rows if row.defense != "none"))

    @property
    def failed_checks(self) -> list[CheckResult]:
        """The checks that failed."""
        return [check for check in self.checks if not check.passed]

    @property
    def run_checks(self) -> list[CheckResult]:
        """The checks that ran; the others lacked what they need."""
        return [check for check in self.checks if check.ran]

    @property
    def summary(self) -> str:
        """The result in a few plain sentences."""
        return summarize(self)

    def threat_models(self) -> list[str]:
        """Return the threat models with a column, in the order of `REPORTED_THREAT_MODELS`."""
        found = {row.threat_model for row in self.rows if row.defense != "none"}
        return [name for name in REPORTED_THREAT_MODELS if name in found]

    @property
    def leaves_attacks_out(self) -> bool:
        """True if a worst case leaves attacks out: those without a radius, where others have one."""
        attacked = [row for row in self.rows if row.attack not in ("none", "worst_case")]
        with_radius, without = (
            {
                (row.defense, row.threat_model)
                for row in attacked
                if (row.epsilon is None) == is_none
            }
            for is_none in (False, True)
        )
        return not with_radius.isdisjoint(without)

    @property
    def is_randomized(self) -> bool:
        """True if the defence draws random numbers, so that it has several white-box attackers."""
        return WHITE_BOX_EOT in self.threat_models()

    def threat_model_title(self, threat_model: str) -> str:
        """Return the title of a threat model; that of a randomised defence names its randomness."""
        title = THREAT_MODEL_TITLES[threat_model]
        is_fixed = threat_model == "white_box" and self.is_randomized
        return f"{title}, fixed randomness" if is_fixed else title

    def white_box_worst_case(self, pipeline: str) -> ResultRow:
        """Return the row of the images that withstand every attack of every white-box attacker."""
        row = self.row(pipeline, "worst_case", ANY_WHITE_BOX)
        return row or self.existing_row(pipeline, "worst_case", "white_box")

    def columns(self) -> list[tuple[str, str, str]]:
        """Return title, pipeline name and threat model of each column of the table."""
        threat_models = self.threat_models()
        columns = [("undefended", "none", "white_box")]
        for name in threat_models:
            if name in ("transfer", "black_box"):
                columns.append((f"undefended, {self.threat_model_title(name)}", "none", name))
        for pipeline in self.pipeline_names:
            for name in threat_models:
                columns.append((f"{pipeline}, {self.threat_model_title(name)}", pipeline, name))
        return columns

    def table(self) -> list[list[str]]:
        """Return the table of accuracies: see `accuracy_table`."""
        return accuracy_table(self)

    def to_csv(self) -> str:
        """Return all rows with all fields as CSV."""
        return rows_as_csv([dataclasses.asdict(row) for row in self.rows])

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        content = {
            "schema": SCHEMA,
            "summary": self.summary,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "sanity": [dataclasses.asdict(check) for check in self.checks],
            "attacks": list(self.attacks),
            "notes": list(self.notes),
            "settings": self.settings,
            "restored": [dataclasses.asdict(each) for each in self.recoveries],
            "detections": [dataclasses.asdict(each) for each in self.detections],
            "curve": self.curve,
            "check_effort": self.check_effort,
            "surrogates": [dataclasses.asdict(each) for each in self.surrogates],
            "fingerprints": self.fingerprints,
            "largest_class": self.largest_class,
            "suspicion": [dataclasses.asdict(each) for each in self.suspicion],
            "made_with": package_versions(),
        }
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Return the report of `report.json`, without results per image.

        Raises:
          ValueError, KeyError or TypeError: the text is damaged or has another schema.
        """
        content = typed_value(parse_json(text), dict)
        report = cls(
            typed_items(content["rows"], ResultRow),
            typed_value(content["attacks"], tuple[str, ...]),
            typed_items(content["sanity"], CheckResult),
            typed_value(content["notes"], tuple[str, ...]),
            typed_value(content["settings"], dict),
            typed_items(content["detections"], Detection),
            typed_items(content["restored"], Recovery),
            typed_value(content["curve"], dict),
            typed_value(content.get("check_effort", {}), dict),
            typed_items(content.get("surrogates", []), SurrogateFinding),
            typed_value(content.get("fingerprints", {}), dict),
            typed_value(content.get("largest_class"), float | None),
            typed_items(content.get("suspicion", []), SuspicionFinding),
        )
        for value in report.fingerprints.values():
            typed_value(value, str)
        if not report.rows:
            raise ValueError("no rows")
        for row in report.rows:
            shares = (row.accuracy, row.ci_low, row.ci_high, row.clean_accuracy)
            if row.n < 0 or not all(0 <= share <= 1 for share in shares):
                raise ValueError("a share outside [0, 1], or a negative number of images")
        _ = report.summary, report.table()  # Raises if rows contradict each other.
        return report
