"""Facts about an exported model that its defence does not hold."""

import dataclasses
from collections.abc import Sequence

from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.report.report import Report


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """Class names, measured robustness and images of an exported model.

    Attributes:
      class_names: K names; empty means the class numbers.
      report: report of the defence, printed in the model card; None if it was not evaluated.
      test_images: images on which a variant is compared with the defence; None skips the
        comparison.
      validation_images: clean images by which the output `suspicion` is calibrated; None leaves it
        out.
    """

    class_names: Sequence[str] = ()
    report: Report | None = None
    test_images: Split | None = None
    validation_images: Split | None = None
