"""TODO tfdefense/training/distribute."""
