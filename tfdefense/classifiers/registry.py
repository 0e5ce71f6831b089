"""Classifiers by name. A new architecture is one file in this folder and one line here."""

from tfdefense.utils.registry import Registry

CLASSIFIERS = Registry(
    "classifier",
    {
        "anet": "tfdefense.classifiers.anet_bnet:ANET",
        "bnet": "tfdefense.classifiers.anet_bnet:BNET",
        "cifar_cnn": "tfdefense.classifiers.cifar_cnn:CIFAR_CNN",
        "defense_gan_a": "tfdefense.classifiers.defense_gan:DEFENSE_GAN_A",
        "defense_gan_b": "tfdefense.classifiers.defense_gan:DEFENSE_GAN_B",
        "defense_gan_c": "tfdefense.classifiers.defense_gan:DEFENSE_GAN_C",
        "defense_gan_d": "tfdefense.classifiers.defense_gan:DEFENSE_GAN_D",
        "densenet": "tfdefense.classifiers.densenet:DENSENET",
        "dnet": "tfdefense.classifiers.densenet:DNET",
        "lenet": "tfdefense.classifiers.lenet:LENET",
        "mnist_cnn": "tfdefense.classifiers.mnist_cnn:MNIST_CNN",
        "resnet18": "tfdefense.classifiers.resnet:RESNET18",
        "rnet": "tfdefense.classifiers.resnet:RNET",
        "vgg16": "tfdefense.classifiers.vgg:VGG16",
    },
)
