import pytest
from PIL import Image

from tfdefense.attacks import FGSM
from tfdefense.evaluation import save_gallery


@pytest.mark.slow
def test_gallery_is_a_picture(defense, toy_split, tmp_path):
    path = tmp_path / "gallery.png"
    save_gallery(defense, toy_split, [FGSM(epsilon=0.3)], path, ("top", "mid$dle", "$bottom$"))
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").tobytes())) > 50
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".svg")]
    assert "$bottom$" in path.with_suffix(".svg").read_text(), "a name is not a formula"
