"""Code that all sources of images share.

Datasets and splits, decoded images in memory or on disk with their cache, and shuffled batches.
"""
