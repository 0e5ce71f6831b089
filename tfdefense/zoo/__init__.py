"""Trained purifiers that come with the package, and what each of them withstands.

pretrained = tfdefense.zoo.load("apeganpp/mnist/mnist_cnn")
print(pretrained.card)
defense = pretrained.before(classifier)     # any classifier of such images; judge and export it as any other
"""

from tfdefense.zoo.pretrained import Pretrained, load, names

__all__ = ["Pretrained", "load", "names"]
