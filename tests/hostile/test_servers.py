"""Signatures and outputs of models that `bin/export` did not write.

`tests/serving/client/test_misbehaving_servers.py` has the answers of servers.
"""

import numpy as np
import pytest

from tfdefense.errors import UserError
from tfdefense.serving.client.model_client import rules_from_signature
from tfdefense.serving.client.output_checks import NEEDED_OUTPUTS, OutputRules

SHAPE = (2, 2, 1)


@pytest.mark.parametrize("shape", [(1, 2**40, 8, 1), (1, 8, 8, 4), (1, 0, 8, 1)])
def test_images_of_impossible_sizes_are_refused(shape):
    outputs = dict.fromkeys(NEEDED_OUTPUTS, (None,)) | {"purified": shape}
    with pytest.raises(UserError, match="takes images of"):
        rules_from_signature({"images": shape}, outputs, "--model=x")


def test_outputs_that_are_not_read_are_left_out():
    outputs = {"purified": np.zeros((3, *SHAPE), np.float32), "names": np.array(["text"])}
    assert [*OutputRules("--model=x", SHAPE).sound_outputs(outputs, "purify", 3)] == ["purified"]


def test_a_certificate_may_name_no_class():
    rules = OutputRules("--model=x", SHAPE, 2)
    outputs = {"classes": np.int64([-1, 1]), "radii": np.float32([0, 0.5])}
    rules.sound_outputs(outputs, "certify", 2)
    with pytest.raises(UserError, match="names class -1; the classes are 0 to 1"):
        rules.sound_outputs(outputs | {"probabilities": np.ones((2, 2), "f")}, "classify", 2)
    with pytest.raises(UserError, match=r"radii has values from -1 to 0.5; 0 or more is needed"):
        rules.sound_outputs(outputs | {"radii": np.float32([-1, 0.5])}, "certify", 2)
