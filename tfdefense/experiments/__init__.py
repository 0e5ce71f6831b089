"""TODO tfdefense/experiments."""
