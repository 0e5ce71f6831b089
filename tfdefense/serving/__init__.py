"""What leaves the library: SavedModels, TFLite files, and a client for them."""

from tfdefense.serving.client.local import open_model
from tfdefense.serving.exporter.export import export
from tfdefense.serving.exporter.variant import Variant

__all__ = ["Variant", "export", "open_model"]
