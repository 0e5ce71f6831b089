"""The run directory of a plan, with its classifier."""

from tfdefense.classifiers import FrozenClassifier
from tfdefense.classifiers.resolve import ClassifierReference
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.plan import TrainingPlan
from tfdefense.utils.progress import print_line


def create_run(plan: TrainingPlan, context: ExperimentContext) -> None:
    """Create the run directory with its classifier, or accept an existing one.

    Raises:
      UserError: the directory has other settings, or the classifier cannot be opened. A custom
        classifier that cannot be opened leaves no directory behind.
    """
    run, classifier, opened = plan.run, plan.classifier, None
    is_new = context.overwrite or not run.exists()
    if is_new and classifier and classifier.path:
        opened = _open_classifier(plan, classifier, context)
    if is_new and _lacks_color_recipe(plan):
        print_line(
            f"{plan.config.defense.defense}: the defaults are for grey images, and these are in colour."
            " Consider --recipe=color."
        )
    run.create_or_reuse(plan.to_stored(), overwrite=context.overwrite)
    print_line(f"Run directory: {run.path}")
    is_missing = not run.has_classifier()  # All workers must ask.
    if classifier and is_missing:
        opened = opened or _open_classifier(plan, classifier, context)
        run.save_classifier(opened.model)


def _lacks_color_recipe(plan: TrainingPlan) -> bool:
    """Return whether a defence with a recipe for colour begins to learn from colour with its defaults."""
    kind = plan.config.defense.defense_class
    has_defaults = plan.config.defense.hyperparameters == kind.config_type()
    return "color" in kind.recipes and has_defaults and plan.dataset.image_shape[2] > 1


def _open_classifier(
    plan: TrainingPlan, classifier: ClassifierReference, context: ExperimentContext
) -> FrozenClassifier:
    with context.trust():
        return classifier.open(plan.dataset, context.runs_dir, plan.config.defense.seed)
