import numpy as np

from tfdefense.attacks import BIM
from tfdefense.evaluation.attacked_images import attacked_images
from tfdefense.evaluation.checks.random_search import RandomSearch
from tfdefense.evaluation.runner import ModelRunner


def test_costs_follow_their_images(toy_split):
    costs = {name: np.arange(24, dtype=np.int32) for name in ("queries", "gradients", "surrogate")}
    attacked = attacked_images(toy_split, 0.5 * toy_split.images, costs, ("a", "b"))
    rows = np.array([5, 3])
    part = attacked.select(rows)
    assert part.queries.tolist() == [5, 3]
    assert part.take(1).surrogate.tolist() == [5]
    assert part.take(1).surrogate_names == ("a", "b")
    again = attacked.attacked_again(rows, part)
    assert again.queries[[3, 4, 5]].tolist() == [6, 4, 10], "the costs of two attacks add up"
    assert again.surrogate[[3, 4, 5]].tolist() == [3, 4, 5], "the second attack made the image"
    np.testing.assert_array_equal(again.images, attacked.images)


def test_a_runner_returns_the_costs_of_the_attack(toy_model, toy_split):
    attack = BIM(epsilon=0.2, steps=3)
    expected = attack.run(toy_model, toy_split.images, toy_split.labels)
    runner = ModelRunner(toy_model, batch_size=10)
    attacked = runner.attack(attack, toy_split, show_progress=False)
    np.testing.assert_array_equal(attacked.queries, expected.queries)
    np.testing.assert_array_equal(attacked.gradients, expected.gradients)
    results = runner.measure(attacked, toy_split)
    np.testing.assert_array_equal(results.queries, expected.queries)
    np.testing.assert_array_equal(results.changed_pixels, expected.l0)
    assert runner.measure(toy_split, toy_split).queries is None


def test_a_runner_reads_images_on_disk_batch_by_batch(toy_model, toy_split, toy_split_on_disk):
    on_disk, counts = toy_split_on_disk
    runner = ModelRunner(toy_model, batch_size=10)
    attacked = runner.attack(BIM(epsilon=0.2, steps=3), on_disk, show_progress=False)
    found, expected = (runner.measure(attacked, clean) for clean in (on_disk, toy_split))
    np.testing.assert_array_equal(found.changed_pixels, expected.changed_pixels)
    assert max(counts) == 10
    RandomSearch(runner, epsilon=0.1, draws=2).fooled(on_disk, lambda _: None)
    assert max(counts) == 10
