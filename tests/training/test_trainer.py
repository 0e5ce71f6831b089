import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.errors import PreemptedError, UserError, WorkFailedError
from tfdefense.training import LoopConfig, Trainer, epochs_to_show
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.distribute import multi_worker

ARRAYS = {"x": np.linspace(-1, 1, 32, dtype=np.float32)}


class Fit:
    """A minimal `Task`: fits y = 3 x by gradient descent on noisy x."""

    name = "fit"
    should_stop = False
    frozen_networks = ()

    def __init__(self, poison_at=None):
        self.weight = tf.Variable(0.0)
        self.poison_at = poison_at
        self.steps = []

    def checkpoint_items(self):
        return {"weight": self.weight}

    def finish(self):
        pass

    def train_step(self, batch, replica):
        x = batch["x"] + 0.1 * replica.uniform()
        with tf.GradientTape() as tape:
            loss = replica.mean(tf.square(self.weight * x - 3.0 * x))
            if self.poison_at is not None:
                bad = tf.cast(replica.step == self.poison_at, tf.float32)
                loss += tf.math.divide_no_nan(bad, bad) * tf.math.log(1.0 - 2.0 * bad)
        self.weight.assign_sub(0.5 * tape.gradient(loss, self.weight))
        return {"loss": loss, "weight": self.weight.read_value()}


def config(**changes):
    defaults = {"epochs": 6, "batch_size": 8, "steps_per_loop": 3, "checkpoint_seconds": 0.0}
    return LoopConfig(**{**defaults, **changes})


@pytest.mark.parametrize(
    ("image_count", "epochs", "validations", "expected"),
    [
        (32, 3, 20, [4, 8, 12]),
        (39, 4, 20, [4, 8, 12, 16, 19]),  # 4.9 steps an epoch; three of four steps are left.
        (39, 3, 20, [4, 8, 12, 14]),
        (41, 2, 20, [5, 10]),
        (80, 20, 6, [33, 66, 99, 132, 165, 200]),  # Not 198.
        (8, 1, 20, [1]),
    ],
)
def test_the_last_validation_follows_the_last_step(image_count, epochs, validations, expected):
    loop = config(epochs=epochs, validations=validations)
    total = loop.total_steps(image_count)
    due = {loop.next_validation(step, image_count) for step in range(total)}
    assert sorted(due) == expected
    for step in range(total):  # Also after a resume between two validations.
        assert loop.next_validation(step, image_count) == next(
            each for each in expected if each > step
        )


def test_a_training_is_not_validated_twice_at_its_end():
    arrays, steps = {"x": np.linspace(-1, 1, 39, dtype=np.float32)}, []
    trainer = Trainer(Fit(), config(epochs=3))
    trainer.fit(arrays, lambda: (steps.append(trainer.checkpoints.step), ({}, {}))[1])
    assert len(steps) == 4


def test_training_converges_and_validates_once_per_epoch():
    task, calls = Fit(), []

    def validate():
        calls.append(float(task.weight))
        return {"accuracy": 1.0}, {}

    Trainer(task, config()).fit(ARRAYS, validate)
    assert float(task.weight) == pytest.approx(3.0, abs=0.1)
    assert len(calls) == 6


@pytest.mark.slow
def test_steps_per_loop_does_not_change_the_result():
    weights = []
    for steps_per_loop in (1, 5, 100):
        task = Fit()
        Trainer(task, config(steps_per_loop=steps_per_loop)).fit(ARRAYS)
        weights.append(float(task.weight))
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.slow
def test_an_interrupted_run_ends_exactly_as_an_uninterrupted_one(tmp_path, capsys):
    uninterrupted = Fit()
    Trainer(uninterrupted, config(), tmp_path / "a").fit(ARRAYS)
    validations = []

    def interrupt():
        validations.append(1)
        if len(validations) == 3:
            raise KeyboardInterrupt
        return {}, {}

    with pytest.raises(KeyboardInterrupt):
        Trainer(Fit(), config(), tmp_path / "b").fit(ARRAYS, interrupt)
    resumed = Fit()
    trainer = Trainer(resumed, config(), tmp_path / "b")
    assert not trainer.is_finished(32)
    trainer.fit(ARRAYS)
    assert "fit: resuming from step 11 of 24." in capsys.readouterr().out
    assert float(resumed.weight) == float(uninterrupted.weight)
    assert trainer.is_finished(32)


def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last_good_checkpoint(tmp_path):
    task = Fit(poison_at=13)
    with pytest.raises(WorkFailedError, match="fit: loss is nan at step 13"):
        Trainer(task, config(), tmp_path).fit(ARRAYS)
    restored = Fit()
    assert Checkpoints(restored.checkpoint_items(), tmp_path).restore() == 12
    assert np.isfinite(restored.weight.numpy())


def test_damaged_checkpoints_and_those_of_other_networks_raise_an_error(tmp_path):
    Trainer(Fit(), config(), tmp_path).fit(ARRAYS)

    other = {"other": tf.Variable([1.0, 2.0])}
    with pytest.raises(UserError, match="cannot be restored"):
        Checkpoints(other, tmp_path).restore()
    for path in (tmp_path / "checkpoints").glob("*.data*"):
        path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(UserError, match="cannot be restored"):
        Checkpoints(Fit().checkpoint_items(), tmp_path).restore()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["data", "index"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path, capsys, part):
    Trainer(Fit(), config(), tmp_path).fit(ARRAYS)
    newest = next((tmp_path / "checkpoints").glob(f"ckpt-24.{part}*"))
    newest.write_bytes(newest.read_bytes()[:7])
    resumed, uninterrupted = Fit(), Fit()
    trainer = Trainer(resumed, config(), tmp_path)
    assert not trainer.is_finished(32)
    assert (
        "ckpt-24: damaged, renamed to damaged-*. Using ckpt-23 instead." in capsys.readouterr().out
    )
    trainer.fit(ARRAYS)
    Trainer(uninterrupted, config()).fit(ARRAYS)
    assert float(resumed.weight) == float(uninterrupted.weight)
    assert list((tmp_path / "checkpoints").glob("damaged-ckpt-24.*"))


def test_two_newest_checkpoints_are_kept(tmp_path):
    Trainer(Fit(), config(), tmp_path).fit(ARRAYS)
    indices = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.index"))
    assert indices == ["ckpt-23.index", "ckpt-24.index"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 4
    assert Trainer(Fit(), config(), tmp_path).is_finished(32)


def test_files_that_a_list_of_checkpoints_names_are_not_deleted(tmp_path):
    directory = tmp_path / "run" / "checkpoints"
    directory.mkdir(parents=True)
    mine = [tmp_path / f"variables.{suffix}" for suffix in ("index", "data-00000-of-00001")]
    for path in mine:
        path.write_text("mine")
    listed = tmp_path / "variables"
    (directory / "checkpoint").write_text(
        f'model_checkpoint_path: "{listed}"\nall_model_checkpoint_paths: "{listed}"\n'
        "all_model_checkpoint_timestamps: 1\nlast_preserved_timestamp: 1\n"
    )
    Trainer(Fit(), config(), tmp_path / "run").fit(ARRAYS)
    assert [path.read_text() for path in mine] == ["mine", "mine"]
    assert not (directory / "checkpoint").exists()


@pytest.mark.parametrize("name", ["ckpt-3.index", "ckpt-3.data-00000-of-00001"])
def test_fifo_among_the_checkpoints_is_refused(tmp_path, name):
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "checkpoints" / "checkpoint")  # Not read.
    assert Checkpoints({"weight": tf.Variable(0.0)}, tmp_path).restore() == 0
    os.mkfifo(tmp_path / "checkpoints" / name)
    with pytest.raises(UserError, match=rf"{name}: a FIFO; a regular file is needed"):
        Checkpoints({"weight": tf.Variable(0.0)}, tmp_path).restore()


def test_link_to_another_place_among_the_checkpoints_is_refused(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "ckpt-3.index").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"ckpt-3\.index: a link to another place\. Remove it"):
        Checkpoints({"weight": tf.Variable(0.0)}, tmp_path / "run").restore()


def test_link_to_itself_among_the_checkpoints_is_damaged(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-3.index").symlink_to("ckpt-3.index")
    with pytest.raises(UserError, match=r"ckpt-3: cannot be restored \(damaged"):
        Checkpoints({"weight": tf.Variable(0.0)}, tmp_path).restore()


@pytest.mark.slow
def test_sigterm_saves_a_checkpoint_and_raises_an_error(tmp_path):
    def send_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        return {}, {}

    before = signal.getsignal(signal.SIGTERM)
    rarely = config(checkpoint_seconds=1e9)
    with pytest.raises(
        PreemptedError, match=r"stopped by SIGTERM at step 4 of 24. Saved. Run the same command"
    ):
        Trainer(Fit(), rarely, tmp_path).fit(ARRAYS, send_sigterm)
    assert signal.getsignal(signal.SIGTERM) is before
    resumed, uninterrupted = Fit(), Fit()
    trainer = Trainer(resumed, rarely, tmp_path)
    assert trainer.checkpoints.restore() == 4
    trainer.fit(ARRAYS)
    Trainer(uninterrupted, config()).fit(ARRAYS)
    assert float(resumed.weight) == float(uninterrupted.weight)


def send_sigterm(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    return {}, {}


class StopEarly(Fit):
    """A `Task` that `stop` stops before its last step, with SIGTERM. The checkpoint contains that."""

    def __init__(self):
        super().__init__()
        self.stopped = tf.Variable(0.0)

    @property
    def should_stop(self):
        return bool(self.stopped)

    def checkpoint_items(self):
        return {"weight": self.weight, "stopped": self.stopped}

    def stop(self):
        self.stopped.assign(1.0)
        return send_sigterm()


def assert_stops_after_its_last_step(task, directory, validate=None, epochs=1):
    """Train; SIGTERM must end it with a checkpoint with which the same training is finished."""
    loop = config(epochs=epochs, steps_per_loop=4)
    message = r"^fit: stopped by SIGTERM after the last step\. Saved\. Run the same command again"
    with pytest.raises(PreemptedError, match=message):
        Trainer(task, loop, directory).fit(ARRAYS, validate)
    resumed = type(task)()
    trainer = Trainer(resumed, loop, directory)
    assert trainer.is_finished(32)
    trainer.fit(ARRAYS, lambda: pytest.fail("a finished run was trained on"))
    assert float(resumed.weight) == float(task.weight)


@pytest.mark.parametrize("moment", ["finish", "validation", "save"])
def test_sigterm_after_the_last_step_raises_an_error_too(tmp_path, monkeypatch, moment):
    task, save = Fit(), Checkpoints.save
    if moment == "finish":
        task.finish = send_sigterm
    if moment == "save":
        monkeypatch.setattr(
            Checkpoints, "save", lambda *given, **options: send_sigterm(save(*given, **options))
        )
    validate = send_sigterm if moment == "validation" else None
    assert_stops_after_its_last_step(task, tmp_path, validate)


def test_sigterm_during_the_validation_that_ends_a_training_early_raises_an_error(tmp_path):
    task = StopEarly()
    assert_stops_after_its_last_step(task, tmp_path, task.stop, epochs=2)


def test_sigterm_to_another_worker_after_the_last_step_raises_an_error(tmp_path, monkeypatch):
    answers = iter([False, False, True])  # The last one is that after the last save.
    monkeypatch.setattr(multi_worker, "any_worker", lambda _: next(answers, False))
    assert_stops_after_its_last_step(Fit(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "--epochs=0: at least 1"),
        ({"batch_size": 0}, "--batch_size=0: at least 1"),
        ({"seed": -1}, "--seed=-1: 0 or more"),
        ({"steps_per_loop": 0}, "--steps_per_loop=0"),
    ],
)
def test_numbers_out_of_range_raise_an_error_that_names_them(changes, message):
    with pytest.raises(UserError, match=message):
        config(**changes)


def test_the_batch_size_must_be_a_multiple_of_the_replicas(two_replicas):
    with two_replicas.scope(), pytest.raises(UserError, match="a multiple of the 2 replicas"):
        Trainer(Fit(), config(batch_size=7))


def test_event_files_contain_curves_pictures_and_settings(tmp_path):
    picture = np.ones((4, 4, 1), np.float32)
    Trainer(Fit(), config(), tmp_path, settings={"seed": 0, "strengths": (0.1, 0.3)}).fit(
        ARRAYS, lambda: ({"accuracy": 0.5}, {"grid": picture})
    )
    tags = {}
    for path in (tmp_path / "events").glob("*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                tags.setdefault(value.tag, []).append(event.step)
    assert tags["train/loss"] == [3, 4, 7, 8, 11, 12, 15, 16, 19, 20, 23, 24]
    assert tags["validation/accuracy"] == [4, 8, 12, 16, 20, 24]
    assert {"validation/grid", "config", "train/images_per_second"} <= tags.keys()
    assert any("hparams" in tag for tag in tags)


def test_epochs_to_show_is_within_its_bounds():
    assert epochs_to_show(600_000, 58_000, 10, 80) == 10
    assert epochs_to_show(600_000, 1_257, 10, 80) == 80
    assert epochs_to_show(600_000, 20_000, 10, 80) == 30


def test_large_images_are_shown_less_often():
    assert epochs_to_show(450_000, 1_000, 8, 64, (224, 224, 3)) == 9
    assert epochs_to_show(450_000, 100_000, 8, 64, (224, 224, 3)) == 1
    assert epochs_to_show(450_000, 100_000, 8, 64, (28, 28, 1)) == 8


class Purify(Fit):
    """A `Task` that applies a frozen network after the one that it trains."""

    def __init__(self):
        super().__init__()
        layers = keras.layers
        self.convolution = layers.Conv2D(64, 3, padding="same")
        self.norm = layers.BatchNormalization()
        images = keras.Input((4, 4, 64))
        self.network = keras.Model(images, self.convolution(images))
        hidden = keras.Input((4, 4, 64))
        self.frozen_networks = [
            keras.Model(hidden, self.norm(layers.Conv2D(64, 1, name="frozen")(hidden)))
        ]

    def checkpoint_items(self):
        return {"network": self.network}

    def train_step(self, batch, replica):
        del replica
        with tf.GradientTape() as tape:
            features = tf.fill([1, 4, 4, 64], tf.reduce_mean(batch["x"]))
            loss = tf.reduce_sum(self.frozen_networks[0](self.network(features), training=False))
        gradient, _ = tape.gradient(loss, self.network.trainable_variables)
        operations = tf.compat.v1.get_default_graph().get_operations()
        self.operations = [f"{each.type} {each.name}" for each in operations]
        self.kernels = {
            tuple(each.outputs[0].shape)
            for each in operations
            if each.type == "Conv2DBackpropFilter"
        }
        return {"loss": tf.cast(loss, tf.float32), "gradient": tf.reduce_sum(gradient)}


def test_steps_have_fast_weight_gradients_and_no_normalisation_of_frozen_networks():
    task = Purify()
    Trainer(task, config(epochs=1, mixed_precision="bfloat16")).fit(ARRAYS)
    assert [each for each in task.operations if each.startswith("GatherV2")]  # The patches.
    assert (3, 3, 64, 64) not in task.kernels
    assert not [each for each in task.operations if "batchnorm/mul" in each]
    assert task.norm(np.ones([1, 1, 1, 64], np.float32)).shape == (1, 1, 1, 64)
