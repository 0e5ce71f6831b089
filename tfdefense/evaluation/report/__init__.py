"""TODO tfdefense/evaluation/report."""
