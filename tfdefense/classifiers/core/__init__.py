"""Code that all classifiers share.

The contract of an architecture, training with cached results, and classifiers in inference mode.
"""
