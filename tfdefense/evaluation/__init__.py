"""Evaluation of a defence: attacks under threat models, rows of accuracies, checks, reports.

Everything that measures a defended classifier belongs here; the attacks themselves do not.
"""

from tfdefense.evaluation.attack_plan import AttackPlan, default_attacks
from tfdefense.evaluation.evaluate_defense import evaluate
from tfdefense.evaluation.predictions import ImagePredictions, Predictions
from tfdefense.evaluation.predictions_file import load_predictions
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.threat_models import ThreatModels

__all__ = [
    "AttackPlan",
    "ImagePredictions",
    "Predictions",
    "Report",
    "ResultRow",
    "ThreatModels",
    "default_attacks",
    "evaluate",
    "load_predictions",
    "save_gallery",
]
