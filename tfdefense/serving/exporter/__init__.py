"""TODO tfdefense/serving/exporter."""
