"""What leaves the library: SavedModels, TFLite files, and a client for them."""

from tfdefense.serving.export import Variant, export
from tfdefense.serving.local import open_model

__all__ = ["Variant", "export", "open_model"]
