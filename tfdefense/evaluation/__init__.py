"""How a defence is judged."""

from tfdefense.evaluation.evaluator import default_attacks, evaluate
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.result import ResultRow
from tfdefense.evaluation.threat_models import ThreatModels

__all__ = ["Report", "ResultRow", "ThreatModels", "default_attacks", "evaluate", "save_gallery"]
