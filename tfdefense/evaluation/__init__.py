"""How a defence is judged."""

from tfdefense.evaluation.evaluator import default_attacks, evaluate
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.result import Row
from tfdefense.evaluation.threat_models import Threats

__all__ = ["Report", "Row", "Threats", "default_attacks", "evaluate", "save_gallery"]
