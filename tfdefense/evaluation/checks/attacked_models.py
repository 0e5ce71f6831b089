"""The two models that checks attack, with PGD compiled once for each."""

from tfdefense.evaluation.checks.pgd_trace import PGDTracer
from tfdefense.evaluation.runner import ModelRunner, RunnableModel


class AttackedModels:
    """The classifier and the defended pipeline, ready to be attacked again and again.

    Args:
      classifier, pipeline: run the classifier without and with the defence.

    Attributes:
      classifier_pgd, pipeline_pgd: PGD on both, compiled once.
    """

    def __init__(
        self, classifier: ModelRunner[RunnableModel], pipeline: ModelRunner[RunnableModel]
    ) -> None:
        self.classifier, self.pipeline = classifier, pipeline
        self.classifier_pgd = PGDTracer(classifier.model, classifier.batch_size)
        self.pipeline_pgd = PGDTracer(pipeline.model, pipeline.batch_size)
