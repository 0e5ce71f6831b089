"""Experiments: typed configs, plans, training, loading and evaluating runs.

Everything here takes an `ExperimentConfig` (what to do) and an `ExperimentContext` (where).
"""
