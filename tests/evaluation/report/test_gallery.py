import pytest
from PIL import Image

from tfdefense.attacks import FGSM
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.evaluation import save_gallery
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
