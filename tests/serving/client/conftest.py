"""A folder of images, and servers of the exported model."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.serving import fake_server
from tfdefense.cli import purify
from tfdefense.cli.main import main


@pytest.fixture(scope="session")
def server(exported):
    """Addresses of a server of the exported model, by port."""
    with fake_server.serve_model(exported) as addresses:
        yield dict(zip(("grpc", "rest"), addresses, strict=True))


@pytest.fixture
def folder(toy_images, tmp_path):
    """PNGs, JPEGs and archives, three of which are damaged, and a text file."""
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    pixels = np.uint8(np.round(255 * toy_images))
    for index in range(10):
        Image.fromarray(pixels[index, ..., 0]).save(root / f"{index}.png")
    Image.fromarray(pixels[10, ..., 0]).convert("RGB").save(root / "below" / "colour.JPG")
    np.savez(root / "many.npz", images=pixels[..., 0], labels=np.arange(24))
    np.savez(root / "floats.npz", x=toy_images[:5])
    with zipfile.ZipFile(root / "floats.npz", "a") as archive:  # NumPy returns these as bytes.
        archive.writestr("notes.txt", "no array")
        archive.writestr("folder/", "")
    (root / "cut.png").write_bytes((root / "1.png").read_bytes()[:50])
    (root / "empty.jpg").write_bytes(b"")
    np.savez(root / "nan.npz", x=np.where(toy_images > 1, toy_images, np.nan))
    (root / "._0.png").write_bytes(b"fork of another system")
    (root / "notes.txt").write_text("nothing")
    return root


@pytest.fixture
def good_folder(folder):
    """The folder without its damaged files."""
    for name in ("cut.png", "empty.jpg", "nan.npz"):
        (folder / name).unlink()
    return folder


@pytest.fixture
def run(places, monkeypatch):
    """Return a function that runs bin/purify with a model, from and to the `places` of a test."""
    source, target = places

    def run(model, *flags):
        monkeypatch.setattr(purify, "open_model", lambda _: model)
        return main(["purify", "--model=m", f"--input={source}", f"--output={target}", *flags])

    return run
