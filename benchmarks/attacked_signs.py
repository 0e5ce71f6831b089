"""Picture of traffic signs: as they are, attacked, and behind the robust purifier of the package.

    .venv/bin/python benchmarks/attacked_signs.py --data_dir=DIR --output=docs/signs.png

The signs are test images of GTSRB of the class `--sign` that the classifier reads correctly. The attack
is PGD with 100 steps at 8/255, which wants them read as `--read_as`. It attacks the classifier alone,
and then classifier and purifier together. The title of each picture is the class that is read. The
last line is one JSON object: how many of the first `--images` signs are read as what.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import tfdefense
from tfdefense.utils.figures import save_figure, subplots

EPSILON = 8 / 255


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--pretrained", default="robust_purifier/gtsrb/cifar_cnn")
    parser.add_argument("--sign", default="stop")
    parser.add_argument("--read_as", default="speed_limit_50")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--columns", type=int, default=7)
    parser.add_argument("--output", default="signs.png")
    arguments = parser.parse_args()

    dataset = tfdefense.data.load("gtsrb", data_dir=arguments.data_dir)
    names = list(dataset.class_names)
    sign, target = names.index(arguments.sign), names.index(arguments.read_as)
    pretrained = tfdefense.zoo.load(arguments.pretrained)
    classifier = pretrained.classifier()
    defense = pretrained.before(classifier)
    pipeline = defense.defend()

    test = dataset.test.select(np.flatnonzero(dataset.test.labels == sign)[: arguments.images])
    wanted = np.full(len(test), target, np.int32)
    attack = tfdefense.attacks.PGD(epsilon=EPSILON, steps=100, relative_step_size=0.05)
    grey = np.asarray(attack(classifier, test.images, test.labels, wanted))
    white = np.asarray(attack(pipeline, test.images, test.labels, wanted))

    def read(model, images):
        return np.argmax(model(images), axis=-1)

    rows = [
        ("the sign", test.images, read(classifier, test.images)),
        ("attacked", grey, read(classifier, grey)),
        ("attacked, purified", np.asarray(defense.purify(grey)), read(pipeline, grey)),
        ("attack on both, purified", np.asarray(defense.purify(white)), read(pipeline, white)),
    ]
    correct = np.flatnonzero(rows[0][2] == sign)
    shown = correct[:: max(1, len(correct) // arguments.columns)][: arguments.columns]
    figure, axes = subplots(len(rows), len(shown), (len(shown), 1.25 * len(rows)), layout="tight")
    for (title, images, classes), line in zip(rows, axes, strict=True):
        for index, axis in zip(shown, line, strict=True):
            axis.imshow(images[index])
            axis.set(xticks=[], yticks=[])
            wrong = classes[index] != sign
            read_as = names[classes[index]].replace("_", " ")
            axis.set_title(read_as, color="red" if wrong else "black", fontsize=5)
        line[0].set_ylabel(title.replace(", ", ",\n"))
    save_figure(figure, Path(arguments.output))
    counts = {
        title: {
            "n": len(test),
            arguments.sign: int(np.sum(classes == sign)),
            arguments.read_as: int(np.sum(classes == target)),
        }
        for title, _, classes in rows
    }
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
