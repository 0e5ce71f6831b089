"""Package metadata: `pip install .` installs what training needs."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements() -> list[str]:
    """Return the lines of requirements.txt without comments."""
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def version() -> str:
    """Return `__version__` of the package, read without importing it."""
    text = (HERE / "tfdefense" / "__init__.py").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("__version__"))


setup(
    name="tfdefense",
    version=version(),
    description="Purifiers in front of image classifiers, attacked, reported and served.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="adversarial examples, robustness, image classification, tensorflow, keras",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["tfdefense", "tfdefense.*"]),
    package_data={
        "tfdefense.evaluation.report": ["templates/*"],
        "tfdefense": ["py.typed"],
        "tfdefense.papers": ["*.csv", "*.toml"],
        "tfdefense.serving.exporter": ["operations.csv", "runtimes.csv"],
        "tfdefense.zoo": ["models/**/*"],
    },
    python_requires=">=3.11",
    install_requires=requirements(),
    extras_require={
        "art": ["adversarial-robustness-toolbox>=1.20,<1.21"],
        "foolbox": ["foolbox>=3.3.4,<3.4"],
        "runtimes": ["onnxruntime>=1.32", "openvino>=2026.1", "tf2onnx>=1.17,<1.18"],
        "serving": ["tensorflow-serving-api>=2.20,<2.22"],
    },
    entry_points={"console_scripts": ["tfdefense = tfdefense.cli.main:start"]},
)
