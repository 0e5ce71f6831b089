"""Helpers that know nothing about images, classifiers or attacks.

They cover files, hashes, registries, progress bars, tables, figures and the worker cluster.
"""
