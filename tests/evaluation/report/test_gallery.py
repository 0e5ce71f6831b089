import itertools

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.checks.planted_flaws import PlantedDefense
from tfdefense.attacks import FGSM
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation import save_gallery
from tfdefense.evaluation.per_image_results import REFUSED
from tfdefense.evaluation.report import gallery
from tfdefense.evaluation.report.gallery import _attack_title


@pytest.mark.slow
def test_gallery_is_a_picture(defense, toy_split, tmp_path):
    path = tmp_path / "gallery.png"
    save_gallery(defense, toy_split, [FGSM(epsilon=0.3)], path, ("top", "mid$dle", "$bottom$"))
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").tobytes())) > 50
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".svg")]
    assert "$bottom$" in path.with_suffix(".svg").read_text(), "a name is not a formula"


@pytest.mark.parametrize(
    ("specification", "title"),
    [
        ("fgsm", "fgsm"),
        ("apgd_ce:steps=25", "apgd_ce:\nsteps=25"),
        ("pgd:steps=10:relative_step_size=0.25", "pgd:\nsteps=10:\nrelative_step_\nsize=0.25"),
    ],
)
def test_the_name_of_an_attack_fits_into_the_margin(specification, title):
    assert _attack_title(parse_attack(specification)) == title


@pytest.mark.slow
def test_each_row_has_the_images_and_classes_of_its_attack(toy_model, toy_split, drawn, tmp_path):
    defense, attack = PlantedDefense(toy_model, lambda images: 1 - images), FGSM(epsilon=0.1)
    save_gallery(defense, toy_split, [attack], tmp_path / "gallery.png")
    # One image of each class comes first.
    images, labels, pipeline = toy_split.images[:10], toy_split.labels[:10], defense.defend()
    grey_box, white_box = (
        np.asarray(attack(each, images, labels)) for each in (toy_model, pipeline)
    )
    rows = []
    for shown in (images, grey_box, white_box):
        rows += [(shown, toy_model(shown)), (1 - shown, pipeline(shown))]
        rows.append((0.5 + (1 - shown - images) / 2, None))
    assert len(drawn[0].axes) == len(rows)
    for axis, (shown, logits) in zip(drawn[0].axes, rows, strict=True):
        (picture,) = axis.images
        np.testing.assert_allclose(picture.get_array(), gallery._strip(shown), atol=1e-6)
        classes = [] if logits is None else np.argmax(logits, axis=-1)
        assert [text.get_text() for text in axis.texts[1:]] == [
            str(found) if found == label else f"{found}  ✗"
            for found, label in zip(classes, labels[: len(classes)], strict=True)
        ]
    titles = [axis.texts[0].get_text() for axis in drawn[0].axes]
    assert titles == [
        *("clean", "purified", "purified\nminus clean"),
        *("fgsm on\nclassifier", "purified\n(grey box)", "purified\nminus clean"),
        *("fgsm on\ndefence", "purified\n(white box)", "purified\nminus clean"),
    ]


@pytest.mark.parametrize(("is_clean", "text"), [(True, "refused  ✗"), (False, "refused")])
def test_a_refused_image_is_correct_only_if_it_is_attacked(drawn, tmp_path, is_clean, text):
    row = gallery._GalleryRow("row", np.zeros([2, 32, 32, 3]), np.array([REFUSED, 1]), is_clean)
    gallery._save_rows([row], np.array([0, 1]), (), tmp_path / "gallery.png")
    _, refused, correct = drawn[0].axes[0].texts
    assert [refused.get_text(), correct.get_text()] == [text, "1"]
    assert (refused.get_color() == correct.get_color()) != is_clean


def test_names_of_classes_that_are_not_utf_8_are_drawn(tmp_path):
    row = gallery._GalleryRow("clean", np.zeros([2, 8, 8, 1]), np.array([0, 1]))
    gallery._save_rows([row], np.array([0, 0]), ["gr\udcfcn", "red"], tmp_path / "gallery.png")
    assert r"gr\udcfcn" in (tmp_path / "gallery.svg").read_text()


def test_long_names_of_classes_do_not_overlap(drawn, tmp_path):
    names = [
        "stop",
        "end_of_speed_limit_80",
        "end_of_no_passing_over_3.5_tons",
        "WWWWWWWWWWWWWWWWW",
    ]
    labels = np.arange(10) % len(names)
    row = gallery._GalleryRow("clean", np.zeros([10, 32, 32, 3]), np.roll(labels, 1))
    gallery._save_rows([row], labels, names, tmp_path / "gallery.png")
    (figure,) = drawn
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts[1:]]
    assert len(boxes) == 10
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
