"""Exported models and their clients.

`exporter/` writes SavedModels and TFLite files, `client/` sends images to them in this process or
on a server, and `core/input_checks.py` checks the images inside the served graph.
"""

from tfdefense.serving.client.local_client import open_model
from tfdefense.serving.exporter.export import export
from tfdefense.serving.exporter.model_facts import ModelFacts
from tfdefense.serving.exporter.variant import Variant

__all__ = ["ModelFacts", "Variant", "export", "open_model"]
