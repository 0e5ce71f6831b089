import itertools

import numpy as np
import pytest
from PIL import Image

from tfdefense.attacks import FGSM
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation import save_gallery
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


def test_long_names_of_classes_do_not_overlap(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(gallery, "save_figure", lambda figure, _: figures.append(figure))
    names = [
        "stop",
        "end_of_speed_limit_80",
        "end_of_no_passing_over_3.5_tons",
        "WWWWWWWWWWWWWWWWW",
    ]
    labels = np.arange(10) % len(names)
    row = gallery._GalleryRow("clean", np.zeros([10, 32, 32, 3]), np.roll(labels, 1))
    gallery._save_rows([row], labels, names, tmp_path / "gallery.png")
    (figure,) = figures
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts[1:]]
    assert len(boxes) == 10
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
