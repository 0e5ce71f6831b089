"""Run a few tests on the oldest and on the newest TensorFlow and Keras that requirements.txt allows.

    nice -n 10 .venv/bin/python tests/soak/dependency_ranges.py [--folder=DIR] [--only=oldest]

Makes one virtual environment for each end (2 GB each, downloaded), and runs in it attacks, the
training step of APE-GAN++, the pretrained purifiers, and a training with export. Takes about an
hour on two slow cores. The last line is one JSON object; the exit status is 1 if a test fails.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENDS = ("oldest", "newest")
PINNED = ("tensorflow", "keras", "tensorboard")
# A test file and the names of the tests in it, as for pytest -k.
TESTS = (
    ("tests/attacks/test_fgsm.py", "test"),
    ("tests/attacks/test_bim.py", "test"),
    ("tests/attacks/test_mim.py", "test"),
    ("tests/attacks/test_pgd.py", "repeat"),
    ("tests/defenses/test_ape_gan_pp.py", "test"),
    ("tests/zoo/test_pretrained.py", "not report"),
)
EXPORT = """
import keras
import numpy as np
import tfdefense

data = tfdefense.data.load("digits")
layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
model = keras.Sequential([keras.Input(data.image_shape), *layers])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(data.train.images, data.train.labels, epochs=5, verbose=0)
model.save("small.keras")
classifier = tfdefense.classifiers.load("small.keras", data)
defense = tfdefense.defenses.APEGANPlusPlus(classifier)
defense.fit(data.train.take(256), epochs=1)
tfdefense.serving.export(defense, "export")
images = data.test.images[:8]
logits = tfdefense.serving.open_model("export").predict("serving_default", images)["logits"]
np.testing.assert_allclose(logits, defense.defend()(images), atol=1e-4)
"""


def requirements_of(end: str) -> str:
    """Return requirements.txt, with the packages of `PINNED` at their lower ends for "oldest"."""
    text = (ROOT / "requirements.txt").read_text()
    if end == "newest":
        return text
    for package in PINNED:
        text, count = re.subn(
            rf"^{package}>=([\d.]+),<.*$", rf"{package}==\1", text, flags=re.MULTILINE
        )
        assert count == 1, f"requirements.txt: no lower end of {package}"
    return text


def make_environment(end: str, folder: Path) -> Path:
    """Return the Python of a new virtual environment with the packages of one end."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    listed = folder / "requirements.txt"
    listed.write_text(requirements_of(end))
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [python, "-m", "pip", "install", *quiet, "-r", listed, "pytest", "hypothesis"], check=True
    )
    return python


def installed_versions(python: Path) -> dict[str, str]:
    """Return package -> version of an environment, for TensorFlow, Keras and NumPy."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({p: m.version(p) for p in ('tensorflow', 'keras', 'numpy')}))"
    )
    run = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def passes(python: Path, folder: Path) -> bool:
    """Run the tests and the export with one Python; return whether all of them pass."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    tests = [
        subprocess.run([python, "-m", "pytest", path, "-k", names], cwd=ROOT, env=environment)
        for path, names in TESTS
    ]
    work = folder / "export-test"
    work.mkdir(exist_ok=True)
    export = subprocess.run([python, "-c", EXPORT], cwd=work, env=environment)
    return all(run.returncode == 0 for run in (*tests, export))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="keep the environments here (default: a temporary folder)")
    parser.add_argument("--only", choices=ENDS, help="try one end alone")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for end in (arguments.only,) if arguments.only else ENDS:
            folder = Path(arguments.folder or temporary).resolve() / end
            python = make_environment(end, folder)
            versions = installed_versions(python)
            results[end] = {**versions, "passed": passes(python, folder)}
    print(json.dumps({"check": "dependency_ranges", **results}))
    return 0 if all(each["passed"] for each in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
