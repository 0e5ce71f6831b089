"""Comparison of exported models in OpenVINO and ONNX Runtime with TensorFlow.

    .venv/bin/pip install openvino tf2onnx onnxruntime
    .venv/bin/python -m tests.soak.other_runtimes [--only=apeganpp] [--write]
    .venv/bin/python -m tests.soak.other_runtimes --model=models/apeganpp/1   # in float32 or float16

Exports every defence, trained for one epoch on digits, the purifiers of colour images, and every
classifier, untrained; takes about 40 minutes. With `--model`, compares that export alone. Runs each
signature on 1, 3 and 8 images. Every output must be TensorFlow's to 1e-4, and classes and
refusals must be equal. Prints a table in Markdown.

The exit status is 1 if a model card says of a tried signature that it agrees and it does not, or
the reverse, and 2 if a package is missing. `--write` writes the table of the model cards.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import tfdefense
from tests.soak.runtime_backends import (
    PACKAGES,
    RUNTIMES,
    CannotConvert,
    different_outputs,
    missing_packages,
    runtime_titles,
)
from tfdefense.classifiers.registry import CLASSIFIERS
from tfdefense.defenses import DEFENSES
from tfdefense.serving import ModelFacts, Variant, export
from tfdefense.serving.exporter import other_runtimes
from tfdefense.serving.exporter.operations import signature_operations
from tfdefense.serving.exporter.other_runtimes import AGREES, LACKS, UNTRIED
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.tables import markdown_table

HARD_SIGNATURES = ("certify", "serving_bytes")  # Tried last: by then, more operations are known.
TABLE = Path(other_runtimes.__file__).with_name("runtimes.csv")
SMALL = {
    "cgan": {"generator": "unet", "levels": 3},
    "defense_gan": {"restarts": 2, "search_steps": 5, "generator_filters": 8},
    "denoised_smoothing": {"votes": 2, "widths": (8, 16)},
    "robust_purifier": {"widths": (8, 16)},
}
IN_COLOUR = {
    "apegan": {},
    "apeganpp": {},
    "cgan": {"generator": "small_unet"},
    "magnet": {},
    "robust_purifier": {"generator": "residual_unet", "widths": (8, 16)},
}
GREY_CLASSIFIERS = ("anet", "bnet", "lenet", "mnist_cnn")


class Trials:
    """Results of all tried signatures.

    Attributes:
      rows: title, signature, and a description for each runtime.
      states: runtime -> operation -> `AGREES`, `LACKS` or `UNTRIED`.
      agreed: (operations, runtime, true if all outputs agreed) of each trial.
    """

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.states: dict[str, dict[str, str]] = {runtime: {} for runtime in RUNTIMES}
        self.agreed: list[tuple[str, frozenset[str], str, bool]] = []

    def add(self, title: str, path: Path, images: np.ndarray, scratch: Path) -> None:
        """Try all signatures of an export."""
        by_signature = signature_operations(path)
        for signature in sorted(by_signature, key=lambda name: (name in HARD_SIGNATURES, name)):
            operations = by_signature[signature]
            found = []
            for runtime, open_signature in RUNTIMES.items():
                lacking: set[str] = set()
                try:
                    run = open_signature(path, signature, scratch)
                    wrong = different_outputs(run, path, signature, images)
                    text = f"differs: {', '.join(wrong)}" if wrong else AGREES
                except CannotConvert as error:
                    known = self.states[runtime]
                    lacking = {n for n in error.lacking & operations if known.get(n) != AGREES}
                    text = f"lacks {', '.join(sorted(lacking))}" if lacking else str(error)[:200]
                except Exception as error:  # A runtime may fail in its own way on its first call.
                    text = f"fails: {' '.join(str(error).split())[:200]}"
                found.append(text)
                self._record(runtime, operations, lacking, agrees=text == AGREES)
                self.agreed.append((f"{title}: {signature}", operations, runtime, text == AGREES))
            self.rows.append([title, signature, *found])
            print(" | ".join(self.rows[-1]), flush=True)

    def _record(
        self, runtime: str, operations: frozenset[str], lacking: set[str], *, agrees: bool
    ) -> None:
        states = self.states[runtime]
        for name in operations:
            state = AGREES if agrees else LACKS if name in lacking else UNTRIED
            if AGREES in (state, states.get(name)):
                states[name] = AGREES
            elif LACKS in (state, states.get(name)):
                states[name] = LACKS
            else:
                states[name] = UNTRIED

    def wrong_cards(self, states: dict[str, dict[str, str]]) -> list[str]:
        """Return the trials whose result is not the one that follows from a table."""
        return [
            f"{title}: {runtime}"
            for title, operations, runtime, agreed in self.agreed
            if agreed != all(states[runtime].get(name) == AGREES for name in operations)
        ]

    def write_table(self) -> None:
        """Write the table of the model cards."""
        tensorflow = package_versions()["tensorflow"]
        lines = [
            f"# Operations of exported graphs in other runtimes, tried with TensorFlow {tensorflow}.",
            "# Made by tests/soak/other_runtimes.py. agrees: in a signature whose outputs agreed;",
            "# lacks: cannot be converted; untried: only in signatures that cannot be converted.",
            ",".join(["operation", *runtime_titles()]),
        ]
        for name in sorted(self.states["OpenVINO"]):
            lines.append(",".join([name, *(states[name] for states in self.states.values())]))
        TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def small_exports(only: str | None, scratch: Path) -> Iterator[tuple[str, Path, np.ndarray]]:
    """Yield a title, an export and eight images of each model to try."""
    keras.utils.set_random_seed(0)
    data = tfdefense.data.load("digits")
    few = data.train.take(256)
    noise = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)

    def small_classifier(shape: tuple[int, ...]) -> keras.Model:
        stack = [keras.layers.Conv2D(8, 3, strides=2, activation="relu"), keras.layers.Flatten()]
        return keras.Sequential([keras.Input(shape), *stack, keras.layers.Dense(10)])

    grey, colour = small_classifier(data.image_shape), small_classifier(noise.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    grey.compile("adam", loss)
    grey.fit(few.images, few.labels, epochs=3, verbose=0)
    facts = ModelFacts(validation_images=data.validation)
    for name in sorted(DEFENSES.names()):
        if only in (None, name):
            defense = DEFENSES.get(name)(grey, **SMALL.get(name, {}))
            if defense.networks():
                defense.fit(few, 1, data.validation)
            path = export(defense, scratch / name, facts=facts)
            yield name, path, data.test.images[:8]
    for name, options in IN_COLOUR.items():
        if only in (None, name):
            path = export(DEFENSES.get(name)(colour, **options), scratch / f"{name}-colour")
            yield f"{name}, in colour", path, noise
    if only in (None, "apeganpp"):
        defense = DEFENSES.get("apeganpp")(grey)
        path = export(defense, scratch / "float16", Variant(precision="float16"))
        yield "apeganpp, float16 weights", path, data.test.images[:8]
    for name in sorted(CLASSIFIERS.names()):
        if only in (None, name):
            images = data.test.images[:8] if name in GREY_CLASSIFIERS else noise
            network = CLASSIFIERS.get(name).build(images.shape[1:], 10)
            # Logits of an untrained network can be of the order of 1e9, and 1e-4 is absolute.
            scale = float(np.max(np.abs(network(images))))
            model = keras.Sequential([network, keras.layers.Rescaling(1 / scale)])
            path = export(DEFENSES.get("bit_depth")(model), scratch / f"classifier-{name}")
            yield f"bit_depth in front of {name}", path, images


def compare(model: Path | None, only: str | None, *, write: bool) -> int:
    """Compare exports, print the table, and return the exit status."""
    trials = Trials()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        if model is not None:
            purify = tf.saved_model.load(str(model)).signatures["purify"]
            shape = purify.structured_outputs["purified"].shape[1:]
            images = np.random.default_rng(0).random((8, *shape), np.float32)
            trials.add(str(model), model, images, scratch)
        else:
            for title, path, images in small_exports(only, scratch):
                trials.add(title, path, images, scratch)
    header = ["model", "signature", *runtime_titles()]
    print("\n".join(["", *markdown_table([header, *trials.rows])]))
    if write:
        trials.write_table()
        other_runtimes.read_table.cache_clear()
    states = dict(zip(RUNTIMES, other_runtimes.read_table().values(), strict=True))
    wrong = trials.wrong_cards(states)
    for line in wrong:
        print(f"The model card is wrong: {line}")
    return int(bool(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="directory of one exported version")
    names = [*DEFENSES.names(), *CLASSIFIERS.names()]
    parser.add_argument("--only", choices=names, help="name of one defence or classifier")
    parser.add_argument("--write", action="store_true", help="write the table of the model cards")
    given = parser.parse_args()
    if given.write and (given.model or given.only):
        parser.error("--write needs the trials of all models: leave out --model and --only.")
    if given.model and not (given.model / "saved_model.pb").is_file():
        parser.error(
            f"--model={given.model}: no saved_model.pb. Give <model>/<version>, such as models/apeganpp/1."
        )
    if missing := missing_packages():
        names = ", ".join(missing)
        print(f"{names} missing. Install with: pip install {' '.join(PACKAGES)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(compare(given.model, given.only, write=given.write))


if __name__ == "__main__":
    main()
