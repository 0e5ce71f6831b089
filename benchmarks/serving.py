"""Latency of an exported model, compared with the Keras model and with OpenVINO.

    .venv/bin/python benchmarks/serving.py [--older=DIR]

APE-GAN++ in front of MNIST-CNN, 28x28x1, float32 except for the variants, batches of 1, 8 and 128,
on the CPU, in this process and without a server. The Keras model is compiled once, and the peer; its
`predict` has a fixed cost for each call. The SavedModel is loaded in a session, as in TF
Serving, and includes its checks of the inputs. The candidates run in turn, call by call. Weights do
not change the time, so they are untrained. With `--older`, an export of the same networks by an older
version runs in turn with the others. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import openvino
import tensorflow as tf

from tests.serving.session_model import SessionModel
from tfdefense.classifiers.mnist_cnn import build_mnist_cnn
from tfdefense.data import Split
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.serving import ModelFacts, Variant, export, open_model

SHAPE = (28, 28, 1)
CALLS = {1: 300, 8: 150, 128: 60}
VARIANTS = {
    "float16 weights": Variant(precision="float16"),
    "bfloat16": Variant(precision="bfloat16"),
    "tflite float32": Variant("tflite"),
    "tflite int8": Variant("tflite", "int8"),
}


def make_candidates(directory, older):
    """Return name -> function from a batch of images to all outputs."""
    keras.utils.set_random_seed(0)
    classifier = build_mnist_cnn(SHAPE, 10)
    defense = APEGANPlusPlus(classifier)
    images = keras.Input(SHAPE)
    together = keras.Model(images, classifier(defense.generator(images)))
    compiled = tf.function(lambda batch: together(batch, training=False), autograph=False)
    path = export(defense, directory / "plain")
    session = SessionModel(path)
    validation = np.random.default_rng(1).random((500, *SHAPE), np.float32)
    facts = ModelFacts(validation_images=Split(validation, np.zeros(500, np.int32), 10, "noise"))
    suspicious = SessionModel(export(defense, directory / "suspicion", facts=facts))
    assert "suspicion" in suspicious.signatures["serving_default"].outputs
    exact = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    vino = openvino.Core().compile_model(path, "CPU", exact)

    def ask(signature, model=session):
        return lambda batch: model.predict(signature, {"images": batch})

    found = {
        "ours": ask("serving_default"),
        "keras": lambda batch: compiled(batch).numpy(),
        "keras predict": lambda batch: together.predict(batch, batch_size=len(batch), verbose=0),
        "openvino": lambda batch: vino({"images": batch}),
        "purify": ask("purify"),
        "classify": ask("classify"),
        "ours with suspicion": ask("serving_default", suspicious),
        "purify with suspicion": ask("purify", suspicious),
    }
    if older:
        older_session = SessionModel(older)
        found |= {
            "older": ask("serving_default", older_session),
            "older purify": ask("purify", older_session),
        }
    for name, variant in VARIANTS.items():
        model = export(defense, directory / name.replace(" ", "-"), variant)
        if variant.format == "tflite":
            opened = open_model(model)
            found[name] = lambda batch, opened=opened: opened.predict("serving_default", batch)
        else:
            found[name] = ask("serving_default", SessionModel(model))
    return found


def measure_calls(functions, batch, calls):
    """Return name -> seconds of each call."""
    seconds = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(3):
            function(batch)
    rng = np.random.default_rng(0)
    for _ in range(calls):
        # In random order, because the candidate after the slowest one finds the caches empty.
        for name in rng.permutation(list(functions)):
            started = time.perf_counter()
            functions[name](batch)
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the usual number of calls"
    )
    parser.add_argument("--older", type=Path, help="directory NAME/VERSION of an older export")
    arguments = parser.parse_args()
    older = arguments.older
    if older and not (older.name.isdecimal() and (older / "saved_model.pb").is_file()):
        parser.error(
            f"--older={older}: the directory NAME/VERSION of an exported SavedModel is needed."
        )
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        functions = make_candidates(Path(scratch), older)
        for size, calls in CALLS.items():
            batch = np.random.default_rng(0).random((size, *SHAPE), np.float32)
            seconds = measure_calls(functions, batch, max(3, int(calls * arguments.share)))
            results[size] = {
                name: {
                    "images_per_second": round(size / float(np.median(each)), 1),
                    "p50_ms": round(1e3 * float(np.percentile(each, 50)), 2),
                    "p90_ms": round(1e3 * float(np.percentile(each, 90)), 2),
                    "times_ours": round(float(np.median(seconds["ours"]) / np.median(each)), 3),
                }
                for name, each in seconds.items()
            }
            results[size]["purifying_per_classifying"] = round(
                float(np.median(seconds["purify"]) / np.median(seconds["classify"])), 2
            )
            print(f"batch {size}: {json.dumps(results[size])}", flush=True)
    large = results[max(CALLS)]
    print(
        json.dumps(
            {
                "benchmark": "serving",
                "ours": large["ours"]["images_per_second"],
                "peer": large["keras"]["images_per_second"],
                "ratio": round(1 / large["keras"]["times_ours"], 3),
                "peer_name": "the compiled Keras model, batch 128",
                "unit": "images/s",
                "each": results,
            }
        )
    )


if __name__ == "__main__":
    main()
