"""Command lines: absl flags in front of `tfdefense.experiment`."""
