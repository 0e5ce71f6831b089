"""TODO tfdefense/classifiers/core."""
