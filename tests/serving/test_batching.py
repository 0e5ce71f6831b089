"""Batching of the fake server, on a model without TensorFlow."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from tests.serving.batching import BatchingModel, BatchingParameters

PARAMETERS = BatchingParameters(8, 200_000, 2, (1, 4, 8))


class DoublingModel:
    """Model that doubles its input, refuses negative values, and notes the batches that it gets."""

    version = 1

    def __init__(self):
        self.signatures = {"double": SimpleNamespace(inputs={"x": None})}
        self.batches = []
        self.closed = False

    def predict(self, signature, inputs):
        self.batches.append(inputs["x"])
        if not len(inputs["x"]) or (inputs["x"] < 0).any():
            raise ValueError("refused")
        return {"y": 2 * inputs["x"]}

    def close(self):
        self.closed = True


@pytest.fixture
def doubling():
    return DoublingModel()


@pytest.fixture
def ask(doubling):
    """Function that sends all requests at once and returns their answers or errors."""
    model = BatchingModel(doubling, PARAMETERS)

    def ask(*requests):
        together = threading.Barrier(len(requests))

        def send(values):
            together.wait()
            try:
                return model.predict("double", {"x": values})["y"]
            except ValueError as error:
                return str(error)

        with ThreadPoolExecutor(len(requests)) as executor:
            return list(executor.map(send, requests))

    yield ask
    model.close()
    assert doubling.closed


def rows(*values):
    return np.array(values, np.float32)[:, None]


def test_requests_that_wait_are_joined_padded_and_split(ask, doubling):
    answers = ask(rows(1), rows(2, 3, 4), rows(5))
    for found, expected in zip(answers, (rows(2), rows(4, 6, 8), rows(10)), strict=True):
        np.testing.assert_array_equal(found, expected)
    (batch,) = doubling.batches
    assert len(batch) == 8
    assert set(batch.ravel()) == {1, 2, 3, 4, 5}


def test_a_full_batch_does_not_wait(ask, doubling):
    answers = ask(*[rows(*range(8))] * 3)
    assert [len(batch) for batch in doubling.batches] == [8, 8, 8]
    for found in answers:
        np.testing.assert_array_equal(found, 2 * rows(*range(8)))


def test_one_wrong_request_fails_its_batch(ask):
    assert ask(rows(1), rows(-1), rows(2)) == ["refused"] * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((1, 2), np.float32), "different shapes"),
        (np.zeros((1, 1), np.uint8), "different data types"),
    ],
)
def test_requests_that_cannot_be_joined_all_fail(ask, doubling, wrong, message):
    answers = ask(rows(1), wrong)
    assert all(message in answer for answer in answers)
    assert not doubling.batches


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (rows(*range(9)), "Task size 9 is larger than maximum input batch size 8"),
        (np.float32(1), "must have at least one dimension"),
        (rows(1)[:0], "refused"),
    ],
)
def test_a_request_that_is_never_joined_fails_alone(ask, wrong, message):
    found, error = ask(rows(1), wrong)
    np.testing.assert_array_equal(found, rows(2))
    assert message in error
