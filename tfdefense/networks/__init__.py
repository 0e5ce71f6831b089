"""Keras networks, activations and losses that defences are built from.

Everything here takes and returns tensors. Networks take images in [0, 1] and rescale them inside.
"""
