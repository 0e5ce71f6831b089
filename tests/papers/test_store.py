"""The store's record of the images that its targets are made from."""

import pytest

from tfdefense.errors import UserError
from tfdefense.papers.store import TargetStore


class OvertakenStore(TargetStore):
    """Store of a machine with other images, while another machine records the right ones first."""

    def fingerprints(self, name):
        return {**super().fingerprints(name), "test": "other"}

    def _record(self, name, fingerprints):
        TargetStore(self.path).record_images([name])
        return super()._record(name, fingerprints)


def test_the_first_of_several_machines_decides_on_the_images(tmp_path):
    with pytest.raises(UserError, match="made from other images of 'digits'"):
        OvertakenStore(tmp_path).record_images(["digits"])
    TargetStore(tmp_path).record_images(["digits"])
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["digits.json"]
