"""TODO tfdefense/defenses/core."""
