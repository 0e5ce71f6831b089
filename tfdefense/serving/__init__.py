"""What leaves the library: SavedModels."""

from tfdefense.serving.export import export

__all__ = ["export"]
