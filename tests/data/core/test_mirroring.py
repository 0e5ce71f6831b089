import pytest

from tfdefense.data.core.mirroring import keeps_class_mirrored, require_mirrorable
from tfdefense.errors import UserError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cifar10", True),
        ("imagenet_resized/32x32:0.1.0", True),
        ("gtsrb", False),
        ("gtsrb:1.0.0", False),
        ("digits", False),
        ("emnist/letters", False),
        ("emnist-letters", False),
        ("mnist-3.0.1", False),
        ("dir:cifar10", None),
        ("npz:images.npz", None),
    ],
)
def test_the_name_of_a_dataset_says_whether_its_mirror_images_keep_their_class(source, expected):
    assert keeps_class_mirrored(source) is expected


def test_mirroring_is_refused_only_where_the_class_is_known_to_change():
    for source in ("cifar10", "dir:signs"):
        require_mirrorable(source)
    with pytest.raises(UserError, match=r"^--mirror: a mirrored image of signs has another class"):
        require_mirrorable("gtsrb:1.0.0", "signs")
    with pytest.raises(UserError, match=r"of mnist has another class\. Leave it out\.$"):
        require_mirrorable("mnist")
