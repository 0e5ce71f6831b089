"""TODO tfdefense/data/core."""
