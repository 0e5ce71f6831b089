"""TODO tfdefense/classifiers/custom."""
