"""How a defence is judged."""

from tfdefense.evaluation.evaluate import default_attacks, evaluate
from tfdefense.evaluation.gallery import save_gallery
from tfdefense.evaluation.report import Report
from tfdefense.evaluation.row import Row
from tfdefense.evaluation.threats import Threats

__all__ = ["Report", "Row", "Threats", "default_attacks", "evaluate", "save_gallery"]
