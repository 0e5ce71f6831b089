"""TODO tfdefense/serving/client."""
