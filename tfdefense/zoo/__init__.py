"""Trained purifiers that come with the package, each with a card of its measured accuracy.

pretrained = tfdefense.zoo.load("apeganpp/mnist/mnist_cnn")
print(pretrained.card)
defense = pretrained.before(classifier)  # Any classifier of such images.
"""

from tfdefense.zoo.pretrained import Pretrained
from tfdefense.zoo.pretrained import list_pretrained as names
from tfdefense.zoo.pretrained import load_pretrained as load

__all__ = ["Pretrained", "load", "names"]
