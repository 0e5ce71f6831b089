"""TODO tfdefense/evaluation/checks."""
