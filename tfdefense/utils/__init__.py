"""TODO tfdefense/utils."""
