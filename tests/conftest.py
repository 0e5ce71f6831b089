"""Fixtures that many tests share. Nothing here is downloaded or trained for long."""

import dataclasses
import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As `GrpcClient` does: the servers of tests import `grpc` before it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# oneDNN makes a kernel for each new shape, which takes longer than the small networks here.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# Two processes share the cores. Idle threads of OpenBLAS and TensorFlow would wait for work in a loop.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.graphs import GRAPH_OPTIONS, eager_functions
from tests.once import shared_directory
from tfdefense.data.core.disk_array import DiskArray

# Two logical CPU devices, so that two replicas can be compared with one; most tests use the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# Most functions here run once or twice. To optimize their graphs takes longer than it saves.
tf.config.optimizer.set_experimental_options(GRAPH_OPTIONS)

# As in the commands on the CPU. Without it, two trainings may differ in their last bits.
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)

# To trace a function makes many objects that live on. With Python's own thresholds, collections would
# visit them again and again.
gc.set_threshold(50_000, 20, 50)

SHAPE = (12, 12, 1)
LONGEST_FILES = [
    Path(__file__).parent / name
    for name in (
        "test_examples.py",
        "serving/exporter/test_every_defence.py",
        "training/distribute/test_multi_worker.py",
        "zoo/test_pretrained.py",
    )
]
assert all(path.is_file() for path in LONGEST_FILES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no process ends alone with one."""
    items.sort(key=lambda item: item.path not in LONGEST_FILES)


@pytest.fixture(scope="session", autouse=True)
def temporary_image_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images are cached in a temporary directory, which all processes of the run share."""
    cache = shared_directory(tmp_path_factory) / "image_cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDEFENSE_CACHE", str(cache))
        patch.delenv("TFDEFENSE_CACHE_GIB", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_garbage_collection() -> None:
    """Let collections visit only objects of this module: those of all tests before take it seconds."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let pytest's own collections at its end visit nothing."""
    gc.freeze()


@pytest.fixture
def short_training() -> Iterator[None]:
    """Run the few steps of a training without tracing them. Other tests of the defence trace them."""
    with eager_functions():
        yield


@pytest.fixture
def tensorflow_log() -> Iterator[list[str]]:
    """The messages of TensorFlow, such as its warning of retracing."""
    messages: list[str] = []

    class Recorder(logging.Handler):
        """Handler that appends each message to the list."""

        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Recorder()
    logger = tf.get_logger()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture(scope="session")
def toy_images() -> np.ndarray:
    """float32 [24, 12, 12, 1]: noise with a bright bar whose row is the class."""
    rng = np.random.default_rng(0)
    images = 0.3 * rng.random((24, *SHAPE), np.float32)
    for index in range(24):
        row = 4 * (index % 3)
        images[index, row : row + 3] += 0.5
    return images


@pytest.fixture(scope="session")
def toy_split(toy_images: np.ndarray) -> tfdefense.data.Split:
    labels = (np.arange(24) % 3).astype(np.int32)
    return tfdefense.data.Split(toy_images, labels, num_classes=3, dataset="toy")


@pytest.fixture
def toy_split_on_disk(
    toy_split: tfdefense.data.Split, monkeypatch: pytest.MonkeyPatch
) -> tuple[tfdefense.data.Split, list[int]]:
    """`toy_split` in a file, and the numbers of images that are read from it at once."""
    images, counts, read = DiskArray(toy_split.images.shape, np.float32), [], DiskArray.__getitem__
    images[0:24] = toy_split.images

    def read_and_count(array: DiskArray, chosen: slice | np.ndarray) -> np.ndarray:
        rows = read(array, chosen)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(DiskArray, "__getitem__", read_and_count)
    return dataclasses.replace(toy_split, images=images), counts


@pytest.fixture(scope="session")
def repeated_toy_split(toy_split: tfdefense.data.Split) -> tfdefense.data.Split:
    """`toy_split` ten times: a training on it has a tenth of the epochs, and of their validations."""
    images, labels = np.tile(toy_split.images, (10, 1, 1, 1)), np.tile(toy_split.labels, 10)
    return tfdefense.data.Split(images, labels, num_classes=3, dataset="toy")


def fit_batch(model: keras.Model, images: np.ndarray, labels: np.ndarray, steps: int) -> None:
    """Train on one batch; `fit` would make a new iterator for each step, which takes longer."""
    for _ in range(steps):
        model.train_on_batch(images, labels)


@pytest.fixture(scope="session")
def toy_model(toy_split: tfdefense.data.Split) -> keras.Model:
    """A small smooth classifier of `toy_split`, trained until it makes no errors."""
    model = make_toy_model()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit_batch(model, toy_split.images, toy_split.labels, steps=60)
    return model


def make_toy_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, strides=2, activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ],
        name="toy",
    )


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """Two replicas on the CPU, one strategy for all tests: a second would reuse its collective keys."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def digits() -> tfdefense.data.Dataset:
    return tfdefense.data.load("digits")


@pytest.fixture(scope="session")
def shared_data() -> str:
    """The directory of prepared TFDS datasets: TFDS_DATA_DIR, or `shared` next to the checkout."""
    candidates = [os.environ.get("TFDS_DATA_DIR"), Path(__file__).parents[2] / "shared"]
    for candidate in candidates:
        for path in (candidate, candidate and Path(candidate) / "tensorflow_datasets"):
            if path and (Path(path) / "mnist").is_dir():
                return str(path)
    pytest.skip("no prepared TFDS datasets here (set TFDS_DATA_DIR)")
