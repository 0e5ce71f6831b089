"""Datasets by name. A new source is one file in this folder and one line here."""

from tfdefense.utils.registry import Registry

SOURCES = Registry(
    "dataset",
    {
        "digits": "tfdefense.data.digits:load_digits",
        "dir:PATH": "tfdefense.data.image_folder:load_image_folder",
        "csv:FILE": "tfdefense.data.csv_file:load_csv_file",
        "npz:FILE": "tfdefense.data.npz_file:load_npz_file",
    },
)
