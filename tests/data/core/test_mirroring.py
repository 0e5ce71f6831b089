import pytest

from tfdefense.data.core.mirroring import keeps_class_mirrored


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("cifar10", True),
        ("imagenet_resized/32x32:0.1.0", True),
        ("gtsrb", False),
        ("gtsrb:1.0.0", False),
        ("digits", False),
        ("dir:cifar10", None),
        ("npz:images.npz", None),
    ],
)
def test_the_name_of_a_dataset_says_whether_its_mirror_images_keep_their_class(source, expected):
    assert keeps_class_mirrored(source) is expected
