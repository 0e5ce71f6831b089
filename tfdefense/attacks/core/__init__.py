"""TODO tfdefense/attacks/core."""
