"""Loading of custom models: `.keras` and `.h5` files, and SavedModel directories.

The result is a classifier from images in [0, 1] to logits that runs no Python code of the model.
"""
