from tfdefense.utils.batch_size import fitting_batch_size


def test_large_images_have_smaller_batches():
    assert fitting_batch_size((28, 28, 1), 250) == 250
    assert fitting_batch_size((56, 56, 3), 250) == 250
    assert fitting_batch_size((224, 224, 3), 250) == 16
    assert fitting_batch_size((224, 224, 3), 8) == 8
    assert fitting_batch_size((4_000, 4_000, 3), 250) == 1
