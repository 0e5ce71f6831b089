import pytest

from tfdefense.errors import UserError
from tfdefense.evaluation.checks.registry import CHECKS, select_checks
from tfdefense.evaluation.checks.settings import CheckSettings


def keys(*names):
    return [check.key for check in select_checks(names)]


def test_names_select_checks_in_the_order_of_a_report():
    assert keys("all") == [check.key for check in CHECKS]
    assert keys("none") == []
    assert keys("rounding", "label_leaking") == ["label_leaking", "rounding"]
    assert keys("fast", "margin_losses") == [
        key for key in keys("all") if key in {*keys("fast"), "margin_losses"}
    ]


def test_fast_checks_are_those_without_further_attacks():
    fast = keys("fast")
    assert {"label_leaking", "gradients_exist", "silent_success", "repeatability"} <= set(fast)
    assert not {"square_finds_nothing", "random_noise", "attacks_converged"} & set(fast)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"names": ("fats",)},
            "unknown --checks 'fats'. Did you mean 'fast'.*Known: all, attacks_",
        ),
        ({"names": ()}, "--checks: none given; all, fast, none or names are needed"),
        ({"names": ("none", "rounding")}, "--checks=none,rounding: none cannot be combined"),
        ({"images": 0}, "--check_images=0: at least 1"),
        ({"names": ("none",), "images": 5}, "--check_images=5: --checks=none has no images"),
    ],
)
def test_bad_values_are_named(given, message):
    with pytest.raises(UserError, match=message):
        CheckSettings(**given)


def test_more_images_than_the_report_has_are_an_error():
    CheckSettings(images=20).require_images(20)
    with pytest.raises(UserError, match=r"--check_images=20: the report has 12 white-box images"):
        CheckSettings(images=20).require_images(12)
