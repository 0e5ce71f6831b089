"""The parts that several defences share.

Base classes, the composition of defences, training on adversarial pairs, optimizers and votes.
"""
