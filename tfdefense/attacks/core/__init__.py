"""Parts of the attacks: base classes, losses, gradients, loops, random numbers, and data sets on disk.

No attack is defined here. Models, attacks and results have their types here.
"""
