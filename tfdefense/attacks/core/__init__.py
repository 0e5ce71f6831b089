"""Parts of the attacks: base classes, losses, gradients, loops, random numbers, and datasets on disk.

No attack is defined here. Models, attacks and results have their types here.
"""
