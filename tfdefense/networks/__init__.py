"""Keras networks, activations and losses that defences are built from.

Networks of images take them in [0, 1] and rescale them inside.
"""
