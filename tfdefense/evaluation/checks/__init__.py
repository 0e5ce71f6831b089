"""Checks of a report: one file per check, and one line in `registry.py`.

Each check asks whether the numbers of the report can be trusted, and answers with a computation.
"""
