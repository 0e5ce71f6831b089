"""A check of a report, the evidence that it examines, and its result."""

import dataclasses
from collections.abc import Callable

from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.sizes import FAST_PROBES
from tfdefense.evaluation.measurements import Measurements
from tfdefense.utils.statistics import wilson_interval

_NOT_CHECKED = "Not checked: "
NOT_CHECKED = f"{_NOT_CHECKED}the report has no L-infinity attack with a radius."
MAX_EXTRA_SHARE = 0.01  # Share of images that an additional attack may fool by chance.


@dataclasses.dataclass(frozen=True)
class CheckEvidence:
    """Everything that checks examine.

    Attributes:
      measurements: rows and per-image results of the report.
      diagnostics: probes of a few images.
      pipeline_names: names of the defended pipelines; the first is the defence as it is used, the last
        has no detector.
    """

    measurements: Measurements
    diagnostics: Diagnostics
    pipeline_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Result of one check, as `report.json` stores it.

    Attributes:
      name: name of the check.
      passed: whether the check passed.
      verdict: finding in words and numbers.
    """

    name: str
    passed: bool
    verdict: str

    @property
    def ran(self) -> bool:
        """True if the report had what the check needs."""
        return not self.verdict.startswith(_NOT_CHECKED)


@dataclasses.dataclass(frozen=True)
class Check:
    """A question about the numbers of a report, with the rule that answers it.

    Attributes:
      key: name for `--checks`; the name of the check's module.
      name: statement that is true if the check passes.
      question: what the check asks.
      source: paper and section that ask for it.
      rule: condition for passing, with its threshold, as the end of a sentence "It passes if ...".
      examine: returns whether the evidence passes, and the verdict.
      probes: keys of `sizes.PROBES`, the work that the check needs.
      counts_missed: whether it counts images that L-infinity attacks of the report missed. In a report
        without such attacks it is not checked.
    """

    key: str
    name: str
    question: str
    source: str
    rule: str
    examine: Callable[[CheckEvidence], tuple[bool, str]]
    probes: tuple[str, ...] = ()
    counts_missed: bool = False

    @property
    def is_fast(self) -> bool:
        """True if the check needs no more than one run of PGD and a few predictions."""
        return FAST_PROBES.issuperset(self.probes)

    def run(self, evidence: CheckEvidence) -> CheckResult:
        """Return the result of the check."""
        if self.counts_missed and not evidence.diagnostics.has_bounded_attacks:
            return CheckResult(self.name, passed=True, verdict=NOT_CHECKED)
        passed, verdict = self.examine(evidence)
        return CheckResult(self.name, bool(passed), verdict)


def is_few(count: int, n: int) -> bool:
    """Return whether `count` of n images can be explained by chance.

    True if the lower end of the 95 % Wilson interval of the share is at most `MAX_EXTRA_SHARE`.
    """
    return wilson_interval(count, n)[0] <= MAX_EXTRA_SHARE


def not_checked(reason: str) -> tuple[bool, str]:
    """Return the result of a check that cannot run."""
    return True, f"{_NOT_CHECKED}{reason}"


def conclude(*, passed: bool, finding: str, warning: str) -> tuple[bool, str]:
    """Return the outcome and the verdict: the finding, and the warning behind it if the check failed."""
    return passed, finding if passed else f"{finding} {warning}"
