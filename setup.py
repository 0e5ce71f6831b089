"""Packaging: `pip install .` brings all that training needs."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements() -> list[str]:
    """The lines of requirements.txt without comments."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def version() -> str:
    """`__version__` of the package, read without importing it."""
    text = (HERE / "tfdefense" / "__init__.py").read_text()
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("__version__"))


setup(
    name="tfdefense",
    version=version(),
    description="Train, attack, judge and serve defences of image classifiers against adversarial inputs.",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["tfdefense", "tfdefense.*"]),
    package_data={
        "tfdefense.papers": ["*.csv", "*.toml"],
        "tfdefense.zoo": ["models/**/*"],
    },
    python_requires=">=3.11",
    install_requires=requirements(),
    extras_require={
        "art": ["adversarial-robustness-toolbox>=1.20,<1.21"],
        "foolbox": ["foolbox>=3.3.4,<3.4"],
        "serving": ["tensorflow-serving-api>=2.21,<2.22"],
    },
    entry_points={"console_scripts": ["tfdefense = tfdefense.cli.main:main"]},
)
