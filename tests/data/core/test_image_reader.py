"""One reader: files of all formats have the same pixels in the loader, the client and the graph."""

import functools
import io
import threading
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfdefense.data.core import image_reader
from tfdefense.data.core.disk_array import as_images
from tfdefense.data.core.image_reader import SUFFIXES, decode_files, read_header, read_upright
from tfdefense.data.core.pixel_budget import PixelBudget
from tfdefense.errors import UserError
from tfdefense.serving.core.input_checks import decode_images

RNG = np.random.default_rng(0)
SMOOTH = np.kron(RNG.integers(0, 256, (5, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
PIXELS = np.clip(SMOOTH + RNG.integers(-20, 20, SMOOTH.shape), 0, 255).astype(np.uint8)
SHAPE = (40, 32, 3)


def with_orientation(number):
    exif = Image.Exif()
    exif[0x010F] = "A maker"  # A tag before it.
    exif[0x0112] = number
    return {"exif": exif}


JPEG, PNG = "picture.jpg", "picture.png"
FILES = {
    "png": ("RGB", PNG, {}),
    "png, alpha": ("RGBA", PNG, {}),
    "png, grey": ("L", PNG, {}),
    "png, grey and alpha": ("LA", PNG, {}),
    "png, palette": ("P", PNG, {}),
    "png, 1 bit": ("1", PNG, {}),
    "png, 16 bits": ("I;16", PNG, {}),
    "png, turned": ("RGB", PNG, with_orientation(6)),
    "png, grey, mirrored": ("L", PNG, with_orientation(4)),
    "jpeg": ("RGB", JPEG, {}),
    "jpeg, 4:4:4": ("RGB", JPEG, {"subsampling": 0, "quality": 95}),
    "jpeg, 4:2:2": ("RGB", JPEG, {"subsampling": 1}),
    "jpeg, progressive": ("RGB", JPEG, {"progressive": True}),
    "jpeg, grey": ("L", JPEG, {}),
    "jpeg, CMYK": ("CMYK", JPEG, {}),
    "jpeg, named .png": ("RGB", PNG, {"format": "JPEG"}),
    "bmp": ("RGB", "picture.bmp", {}),
    "gif": ("RGB", "picture.gif", {}),
    "gif, grey": ("L", "picture.gif", {}),
    "webp": ("RGB", "picture.WEBP", {}),
    "webp, turned": ("RGB", "picture.webp", with_orientation(8)),
    "tiff": ("RGB", "picture.tif", {}),
    "tiff, CMYK": ("CMYK", "picture.tiff", {}),
    "tiff, 16 bits": ("I;16", "picture.tif", {}),
    "tiff, turned": ("RGB", "picture.tif", with_orientation(5)),
    "ppm": ("RGB", "picture.ppm", {}),
    **{f"jpeg, orientation {n}": ("RGB", JPEG, with_orientation(n)) for n in range(2, 9)},
}


def save(path, mode, options):
    if mode == "I;16":
        image = Image.fromarray(257 * PIXELS[..., 0].astype(np.uint16) - 1 + (PIXELS[..., 0] == 0))
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    image.save(path, **options)
    return path


@functools.cache
def graph(shape):
    spec = tf.TensorSpec([None], tf.string)
    return tf.function(lambda files: decode_images(files, shape, 10), input_signature=[spec])


def served(encoded, shape):
    """The image as the graph of an exported model decodes it."""
    return graph(shape)(tf.constant([encoded]))[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_loader_client_and_graph_have_the_same_pixels(kind, tmp_path):
    mode, name, options = FILES[kind]
    path = save(tmp_path / name, mode, options)
    header = read_header(path)
    shapes = [(header.height, header.width, 1 if header.is_grey else 3), (16, 20, 3), (20, 16, 1)]
    for shape in shapes if kind in ("jpeg", "png, turned", "tiff") else shapes[:1]:
        loaded, reasons = decode_files([path], shape)
        assert not reasons
        np.testing.assert_array_equal(served(read_upright(path), shape), as_images(loaded[0]))
        if path.read_bytes()[:2] in (b"\x89P", b"\xff\xd8"):
            np.testing.assert_array_equal(served(path.read_bytes(), shape), as_images(loaded[0]))


@pytest.mark.parametrize("kind", FILES)
def test_pixels_are_those_of_pillow(kind, tmp_path):
    mode, name, options = FILES[kind]
    path = save(tmp_path / name, mode, options)
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        expected = np.asarray(image.convert("RGB"))
    loaded, reasons = decode_files([path], expected.shape)
    assert not reasons
    tolerance = 1 if mode == "CMYK" else 0
    np.testing.assert_allclose(loaded[0].astype(int), expected, atol=tolerance)


def insert_chunk(png, content, *, before_end):
    """Add a chunk eXIf to a PNG, after its header or before its end."""
    name = b"eXIf"
    check = zlib.crc32(name + content).to_bytes(4, "big")
    chunk = len(content).to_bytes(4, "big") + name + content + check
    place = len(png) - 12 if before_end else 33
    return png[:place] + chunk + png[place:]


def tiff(entries, order="big", magic=42):
    mark = b"MM" if order == "big" else b"II"
    head = mark + magic.to_bytes(2, order) + (8).to_bytes(4, order)
    body = b"".join(
        tag.to_bytes(2, order) + kind.to_bytes(2, order) + (1).to_bytes(4, order) + value
        for tag, kind, value in entries
    )
    return head + len(entries).to_bytes(2, order) + body + bytes(4)


@pytest.mark.parametrize("before_end", [False, True])
@pytest.mark.parametrize(
    ("content", "is_turned"),
    [
        (tiff([(0x0112, 3, b"\0\6\0\0")]), True),
        (tiff([(0x0112, 3, b"\6\0\0\0")], "little"), True),
        (tiff([(0x0100, 3, b"\0\3\0\0"), (0x0112, 4, b"\0\0\0\6")]), True),
        (b"Exif\0\0" + tiff([(0x0112, 3, b"\0\6\0\0")]), True),
        (tiff([(0x0112, 3, b"\0\x0b\0\0")]), False),
        (tiff([(0x0112, 2, b"\0\6\0\0")]), False),
        (tiff([]), False),
        (tiff([(0x0112, 3, b"\0\6\0\0")])[:12], False),
        (b"MM\0\x2a\xff\xff\xff\xff", False),
        (b"II", False),
        (b"", False),
        (bytes(40), False),
    ],
)
def test_the_orientation_of_a_png_is_read_from_any_place(content, is_turned, before_end, tmp_path):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(insert_chunk(file.getvalue(), content, before_end=before_end))
    header = read_header(path)
    assert (header.height, header.width) == ((32, 40) if is_turned else (40, 32))
    expected = np.rot90(PIXELS, -1) if is_turned else PIXELS
    np.testing.assert_array_equal(decode_files([path], expected.shape)[0][0], expected)


def test_orientations_after_the_end_and_after_very_many_parts_are_not_read(tmp_path):
    """A loop over millions of empty parts would take minutes."""
    turned = tiff([(0x0112, 3, b"\0\6\0\0")])
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(PIXELS).save(jpeg, "JPEG", **with_orientation(6))
    Image.fromarray(PIXELS).save(png, "PNG")
    start, rest = jpeg.getvalue()[:2], jpeg.getvalue()[2:]
    after_end = insert_chunk(png.getvalue() + bytes(12), turned, before_end=True)
    for name, content, is_turned in (
        ("few.jpg", start + 99 * b"\xff" + rest, True),
        ("many.jpg", start + 2_000 * b"\xff" + rest, False),
        ("after.png", after_end, False),
    ):
        (tmp_path / name).write_bytes(content)
        header = read_header(tmp_path / name)
        assert (header.height < header.width) == is_turned, name


def test_each_suffix_can_be_read(tmp_path):
    """Pillow's own names of the formats are used, so it can write a file of each suffix."""
    for suffix in SUFFIXES:
        path = tmp_path / f"picture{suffix}"
        Image.fromarray(PIXELS).convert("1" if suffix == ".pbm" else "RGB").save(path)
        assert decode_files([path], SHAPE)[1] == {}, suffix


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image, or a damaged one"),
        (b"GIF89a", "not an image, or a damaged one"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"\(UnidentifiedImageError\)"),
        (b"\x89PNG\r\n\x1a\n", r"\(Invalid PNG"),
        (b"\xff\xd8\xff", "not an image, or a damaged one"),
    ],
)
def test_damaged_files_have_a_reason(content, reason, tmp_path):
    good = save(tmp_path / "good.png", "RGB", {})
    (tmp_path / "bad.png").write_bytes(content)
    images, reasons = decode_files([good, tmp_path / "bad.png", good], SHAPE)
    assert list(reasons) == [1]
    np.testing.assert_array_equal(images[2], PIXELS)
    with pytest.raises(UserError, match=reason):
        raise UserError(reasons[1])


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.float32(PIXELS[..., 0]) / 255).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match="pixels are floating-point numbers; save it with 8"):
        read_header(tmp_path / "float.tif")


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.bmp"])
@pytest.mark.parametrize(("limit", "together"), [(PIXELS[..., 0].size - 1, 1), (10**6, 4)])
def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch, name, limit, together):
    path = save(tmp_path / name, "RGB", {})
    busy, most, lock = [0], [0], threading.Lock()

    def count(function):
        def counted(*arguments):
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            time.sleep(0.02)
            try:
                return function(*arguments)
            finally:
                with lock:
                    busy[0] -= 1

        return counted

    monkeypatch.setattr(image_reader, "_PIXELS_AT_ONCE", PixelBudget(limit))
    for function in ("_run", "_to_png"):
        monkeypatch.setattr(image_reader, function, count(getattr(image_reader, function)))
    assert decode_files([path] * 8, SHAPE)[1] == {}
    assert most[0] == together if together == 1 else most[0] > 1
