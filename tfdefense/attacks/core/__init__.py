"""Parts that attacks share: base classes, results, losses, gradients, loops and random numbers.

Adversarial datasets on disk are here too. No attack is defined here.
"""
