"""Commands as a user types them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tfdefense.attacks import ATTACKS
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli.main import main
from tfdefense.data import SOURCES
from tfdefense.defenses import DEFENSES
from tfdefense.evaluation.threat_models import THREAT_MODELS

ROOT = Path(__file__).parents[2]
QUICK = [
    *("train", "--defense=apeganpp", "--epochs=1", "--images=20", "--white_box_images=4"),
    *("--attacks=fgsm,pgd",),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with one finished, tiny run in `runs/`."""
    place = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shorten_classifier(patch)
        assert main(QUICK) == 0
        custom_model().save("custom.keras")
        rng = np.random.default_rng(0)
        small = rng.integers(0, 256, (40, 8, 8), np.uint8)
        np.savez("small.npz", images=small, labels=np.arange(40) % 4)
    return place


def custom_model():
    """Return a model of images in [0, 255] with a softmax at its end, right about most digits."""
    import keras

    digits = tfdefense.data.load("digits")
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 127.5, -1), *layers], name="any"
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    images = 255 * digits.train.images
    model.fit(images, digits.train.labels, epochs=10, batch_size=32, verbose=0)
    return model


def shorten_classifier(patch):
    import dataclasses

    from tfdefense.classifiers import mnist_cnn
    from tfdefense.classifiers.core.architecture import Recipe

    short = dataclasses.replace(mnist_cnn.MNIST_CNN, grey=Recipe(training_images=6_000))
    patch.setattr(mnist_cnn, "MNIST_CNN", short)


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)
    return Path("runs/digits-mnist_cnn-apeganpp")


def test_a_run_directory_holds_everything(run):
    for name in (
        "config.json",
        "classifier.keras",
        "report.json",
        "report.html",
        "report.md",
        "gallery.png",
    ):
        assert (run / name).is_file(), name
    assert list((run / "checkpoints").glob("*.index"))
    assert list((run / "events").glob("events*"))
    assert (run / "export" / "1" / "saved_model.pb").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["epochs"] == 1
    assert config["settings"]["seed"] == 0
    assert {"tensorflow", "keras", "python", "tfdefense"} <= config["made_with"].keys()


@pytest.mark.parametrize("command", [QUICK, ["train", "--run=runs/digits-mnist_cnn-apeganpp"]])
def test_the_same_command_again_does_nothing(run, capsys, command):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    printed = capsys.readouterr().out
    for needed in ("fgsm 0.3", "white box", "gallery.png", "tensorboard --logdir", "export/1"):
        assert needed in printed


def test_evaluate_finds_what_train_reported(run, tmp_path):
    """A later command loads the weights that training ended with."""
    import shutil

    shutil.copytree(run, tmp_path / "copy")
    rows = json.loads((run / "report.json").read_text())["rows"]
    flags = ["--images=20", "--white_box_images=4", "--attacks=fgsm,pgd"]
    assert main(["evaluate", f"--run={tmp_path / 'copy'}", *flags]) == 0
    again = json.loads((tmp_path / "copy" / "report.json").read_text())["rows"]
    for first, second in zip(rows, again, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    first, second = (np.load(place / "predictions.npz") for place in (run, tmp_path / "copy"))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_evaluate_needs_only_the_run(run, tmp_path, monkeypatch, capsys):
    import shutil

    shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--run=moved", "--attacks=bim", "--epsilon=0.2", "--images=10"]) == 0
    assert "bim 0.2" in capsys.readouterr().out
    rows = json.loads(Path("moved/report.json").read_text())["rows"]
    assert {row["n"] for row in rows} == {10}


def test_evaluate_finds_a_trained_defence_by_name(run, capsys, monkeypatch):
    """Flags of the training need not be repeated."""
    monkeypatch.chdir(run.parents[1])
    flags = ["--attacks=fgsm", "--images=10", "--white_box_images=2"]
    (run / "report.json").unlink()
    assert main(["evaluate", "--defense=apeganpp", *flags]) == 0
    assert f"{run.relative_to(run.parents[1])}/report.html" in capsys.readouterr().out
    rows = json.loads((run / "report.json").read_text())["rows"]
    assert {row["n"] for row in rows} == {10, 2}


def test_evaluate_creates_the_run_of_a_defence_that_does_not_learn(run, capsys, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    flags = ["--attacks=fgsm", "--images=10", "--white_box_images=2"]
    name = "bit_depth+spatial_smoothing"
    assert main(["evaluate", f"--defense={name}", "--bits=2", *flags]) == 0
    assert f"{name}, white box" in capsys.readouterr().out
    assert Path(f"runs/digits-mnist_cnn-{name}/gallery.png").is_file()
    assert main(["export", f"--run=runs/digits-mnist_cnn-{name}"]) == 0


def test_evaluate_puts_a_trained_defence_in_front_of_another_classifier(run):
    another = ["--classifier=custom.keras", "--input_range=0,255"]
    few = ["--images=20", "--white_box_images=4", "--attacks=fgsm"]
    before = (run / "report.json").read_text()
    assert main(["evaluate", f"--run={run}", *another, *few]) == 0
    rows = json.loads((run / "guarding-custom" / "report.json").read_text())["rows"]
    assert {row["classifier"] for row in rows} == {"custom"}
    trained_with = {row["defense"]: row["trained_with"] for row in rows}
    assert trained_with == {"none": "none", "apeganpp": "mnist_cnn"}
    assert (run / "report.json").read_text() == before


def test_evaluate_under_every_threat_model(run, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    given = ["--threat_models=grey_box,white_box,transfer,black_box", "--source=custom.keras"]
    few = ["--images=20", "--white_box_images=4", "--attacks=fgsm"]
    assert main(["evaluate", f"--run={copy}", *given, *few]) == 2, (
        "custom.keras takes images in [0, 255]"
    )
    given[1] = "--source=runs/digits-mnist_cnn"
    assert main(["evaluate", f"--run={copy}", *given, *few]) == 0
    report = json.loads((copy / "report.json").read_text())
    assert {row["threat_model"] for row in report["rows"]} == {"none", *THREAT_MODELS}
    assert len(report["sanity"]) == 9
    assert report["settings"]["source"] == "runs/digits-mnist_cnn"
    for name in ("gallery", "epsilon", "perturbations", "training"):
        assert (copy / f"{name}.png").stat().st_size > 5_000
        assert (copy / f"{name}.svg").read_text().startswith("<?xml")
    with np.load(copy / "predictions.npz") as kept:
        assert kept["apeganpp/fgsm/transfer/perturbation"].shape == (20, 3)
        assert kept["apeganpp/fgsm/white_box/predicted"].shape == (4,)


def test_compare_puts_runs_into_one_table_and_figure(run, tmp_path, capsys):
    few = ["--images=20", "--white_box_images=4", "--attacks=fgsm,pgd"]
    other = "runs/digits-mnist_cnn-bit_depth"
    assert main(["evaluate", "--defense=bit_depth", *few]) == 0
    capsys.readouterr()
    output = f"--output={tmp_path / 'all'}"
    assert main(["evaluate", "--compare", str(run), other, output]) == 0
    printed = capsys.readouterr().out
    assert "apeganpp, grey box" in printed
    assert "bit_depth, white box" in printed
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {f"comparison.{kind}" for kind in ("md", "html", "tex", "csv", "png", "svg")}
    lines = (tmp_path / "all" / "comparison.md").read_text().splitlines()
    reports = [json.loads((Path(path) / "report.json").read_text()) for path in (run, other)]
    line = next(line for line in lines if line.startswith("| pgd 0.3"))
    for report in reports:
        defended = [row for row in report["rows"] if row["defense"] != "none"]
        for row in defended:
            if row["attack"] == "pgd":
                assert f"{row['accuracy']:.1%} [{100 * row['ci_low']:.1f}" in line


def test_export_needs_only_the_run_and_counts_up(run, tmp_path, capsys):
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert "saved_model_cli show --dir" in capsys.readouterr().out


ATTACK = ["attack", "--attack=jsma", "--theta=0.5", "--gamma=0.3", "--images=12", "--batch_size=5"]


def test_attack_writes_examples_and_a_summary_and_finds_them_again(run, capsys):
    assert main(ATTACK) == 0
    printed = capsys.readouterr().out
    for needed in ("fooled", "rounded to 8 bits", "n=12", "theta=0.5", "summary.json", "Crafting"):
        assert needed in printed
    (found,) = Path("runs/attacks").glob("digits-test-mnist_cnn-jsma-*")
    with np.load(found / "shards" / "00000010.npz") as shard:
        assert shard["adversarial"].shape == (2, 28, 28, 1)
        assert shard["adversarial"].dtype == np.float32
    assert main(ATTACK) == 0
    assert "Found in" in capsys.readouterr().out
    assert json.loads((found / "summary.json").read_text())["settings"]["gamma"] == 0.3


def test_attack_on_a_run_attacks_the_whole_defence(run, capsys):
    assert main(["attack", "--attack=bim", f"--run={run}", "--images=5", "--epsilon=0.4"]) == 0
    assert "on apeganpp+mnist_cnn" in capsys.readouterr().out


def test_train_learns_from_the_images_that_attack_made(run, tmp_path, capsys):
    examples = tmp_path / "bim"
    flags = ["--split=train", "--steps=2", f"--output={examples}"]
    assert main(["attack", "--attack=bim", *flags]) == 0
    trained = tmp_path / "run"
    command = [*QUICK, f"--run={trained}", f"--pairs={examples}"]
    assert main(command) == 0
    settings = json.loads((trained / "config.json").read_text())["settings"]
    assert settings["pairs"][0].startswith("bim-")
    capsys.readouterr()
    assert main(["train", f"--run={trained}"]) == 0
    assert main(["train", f"--run={trained}", "--defense=apeganpp", "--lambda1=0.7"]) == 2
    assert "--pairs" not in capsys.readouterr().err


CUSTOM = ["--defense=apeganpp", "--classifier=custom.keras"]


def test_everything_is_listed(capsys):
    assert main(["train", "--list"]) == 0
    printed = capsys.readouterr().out
    for registry in (DEFENSES, CLASSIFIERS, ATTACKS, SOURCES):
        for name in registry.names():
            (line,) = (line for line in printed.splitlines() if line.startswith(f"  {name} "))
            assert len(line.split(maxsplit=1)[1]) > 15, f"{name} has no summary"


def test_a_classifier_alone_is_trained_and_then_named(run, capsys):
    command = ["train", "--classifier=lenet", "--epochs=4", "--batch_size=32"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for needed in ("61,706 parameters, test accuracy", "classifier.keras", "tensorboard --logdir"):
        assert needed in printed
    assert main(["train", "--run=runs/digits-lenet"]) == 0
    assert "Training" not in capsys.readouterr().out
    named = ["--classifier=runs/digits-lenet", "--images=5"]
    assert main(["attack", "--attack=fgsm", *named]) == 0
    assert "on lenet" in capsys.readouterr().out
    assert main(["train", "--classifier=lenet", "--epochs=5"]) == 2
    assert "--batch_size=32 (128 now), --epochs=4 (5 now)" in capsys.readouterr().err


def test_a_defence_that_does_not_learn_is_evaluated_and_exported(run, capsys):
    command = ["train", "--defense=bit_depth", *QUICK[3:], "--attacks=fgsm"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for needed in ("bit_depth, grey box", "bit_depth, white box", "export/1"):
        assert needed in printed
    place = Path("runs/digits-mnist_cnn-bit_depth")
    assert main(["evaluate", f"--run={place}", "--attacks=bim", "--images=5"]) == 0
    assert main(["export", f"--run={place}"]) == 0


def test_a_custom_model_with_a_folder_of_images(run, tmp_path, capsys):
    """From a file with softmax and byte inputs and a folder of pictures to a report and a SavedModel."""
    digits = tfdefense.data.load("digits").train
    for number, (image, label) in enumerate(zip(digits.images[:400], digits.labels, strict=False)):
        place = tmp_path / "pictures" / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.round(255 * image[..., 0]).astype(np.uint8))
        picture.save(place / f"{number}.png")
    custom = ["--classifier=custom.keras", f"--dataset=dir:{tmp_path / 'pictures'}"]
    command = [*QUICK, *custom, f"--run={tmp_path / 'run'}"]
    assert main(command) == 2
    assert "--input_range=0,255" in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "a failed command leaves no run directory"
    assert main([*command, "--input_range=0,255"]) == 0
    rows = json.loads((tmp_path / "run" / "report.json").read_text())["rows"]
    assert {row["classifier"] for row in rows} == {"custom"}
    assert {row["dataset"] for row in rows} == {"dir-pictures"}
    assert rows[0]["accuracy"] > 0.6
    assert (tmp_path / "run" / "export" / "1" / "saved_model.pb").is_file()
    capsys.readouterr()
    assert main(["train", f"--run={tmp_path / 'run'}"]) == 0
    assert main(["evaluate", f"--run={tmp_path / 'run'}", "--attacks=bim", "--images=5"]) == 0
    custom_model().save(tmp_path / "custom.keras")
    other = f"--classifier={tmp_path / 'custom.keras'}"
    assert main(["train", f"--run={tmp_path / 'run'}", other, "--input_range=0,255"]) == 2
    assert "classifier hash" in capsys.readouterr().err


BAD = [
    (["trian"], "unknown command 'trian'. Did you mean 'train'"),
    (["train"], "--defense: none given"),
    (["train", "--defense=apegnpp"], "unknown defense 'apegnpp'. Did you mean 'apeganpp'"),
    (["train", "--defense=apeganpp", "--dataset=digit"], "Did you mean 'digits'"),
    (["train", "--defense=apeganpp", "--classifier=mnistcnn"], "Did you mean 'mnist_cnn'"),
    (["train", "--defense=apeganpp", "--epochs=0"], "--epochs=0: at least 1"),
    (
        ["train", "--defense=apegan", "--train_images=0"],
        "--train_images=0: digits has 1,257 training images; 1 to 1,257 is",
    ),
    (
        ["train", "--defense=apegan", "--train_images=1258"],
        "--train_images=1258: digits has 1,257 training images; 1 to",
    ),
    (["train", "--defense=bit_depth", "--train_images=9"], "not a setting of --defense=bit_depth"),
    (["train", "--defense=apeganpp", "--epochs=many"], "epochs"),
    (["train", "--defense=apeganpp", "--epsilon=1.5"], "--epsilon=1.5: a number in [0, 1]"),
    (["train", "--defense=apeganpp", "--attacks=fgms"], "Did you mean 'fgsm'"),
    (["train", "--defense=apeganpp", "--strengths=0.1,big"], "--strengths=0.1,big: numbers"),
    (["train", "--defense=apeganpp", "--strengths=0.1,7"], "--strengths: 7.0 given"),
    (["train", "--defense=apeganpp", "--lambda2=-1"], "--lambda2=-1.0"),
    (["train", "--defense=apeganpp", "--strategy=tpu"], "unknown strategy 'tpu'"),
    (["evaluate", "--defense=bit_depth", "--strategy=tpu"], "unknown strategy 'tpu'"),
    (
        ["attack", "--attack=fgsm", "--strategy=multi_worker"],
        "TF_CONFIG is not set. Set it to JSON such as",
    ),
    (
        ["train", "--defense=apeganpp", "--mixed_precision=float16"],
        "unknown --mixed_precision 'float16'",
    ),
    (["train", "--defense=apeganpp", "--epohcs=3"], "Unknown command line flag 'epohcs'"),
    (["train", "--defense=apeganpp", "now"], "'now': not a flag"),
    (["train", "--defense=apeganpp", "--run=notes"], "notes: exists and is not a run directory"),
    (["train", "--defense=apeganpp", "--run=/proc/nothing"], "/proc/nothing: cannot be written"),
    (["train", "--defense=apeganpp", "--dataset=mnist", "--data_dir=nowhere"], "no such directory"),
    (
        ["train", "--run=nowhere"],
        "--run=nowhere: no such run directory. To create it, add --defense=NAME or",
    ),
    (
        ["train", "--defense=apeganpp", "--run=runs/digits-mnist_cnn", "--overwrite"],
        "is a run of kind classifier; one of kind defense is needed",
    ),
    (
        ["train", "--defense=bit_depth", "--epochs=3"],
        "--epochs: not a setting of --defense=bit_depth",
    ),
    (["train", "--defense=bit_depth", "--bits=9"], "--bits=9: 1 to 8 is needed"),
    (
        ["train", "--defense=bit_depth", "--pairs=runs"],
        "--pairs: --defense=bit_depth does not learn",
    ),
    (["train", "--classifier=lenett"], "unknown classifier 'lenett'. Did you mean 'lenet'"),
    (["train", "--classifier=lenet", "--lambda1=1"], "--lambda1: not a setting of a classifier"),
    (["train", "--classifier=lenet", "--optimizer=sdg"], "Did you mean 'sgd'"),
    (["train", "--classifier=custom.keras"], "--classifier=custom.keras: exists already"),
    (["train", "--classifier=resnet18", "--dataset=npz:small.npz"], "images of (8, 8, 1) given"),
    (
        ["train", "--classifier=lenet", "--run=runs/digits-mnist_cnn"],
        "other settings: --classifier=mnist_cnn (lenet now)",
    ),
    (
        ["train", "--classifier=lenet", "--run=runs/digits-mnist_cnn-apeganpp"],
        "--classifier=mnist_cnn (lenet now)",
    ),
    (["train", *CUSTOM, "--dataset=dir:nowhere"], "--dataset=dir:nowhere: no such directory"),
    (["train", *CUSTOM, "--dataset=npz:custom.keras"], "holds metadata.json, config.json"),
    (
        ["train", *CUSTOM, "--dataset=npz:small.npz"],
        "the data has (8, 8, 1). For images in folders",
    ),
    (["train", *CUSTOM, "--image_size=big"], "--image_size=big: a number or HEIGHTxWIDTH"),
    (
        ["train", *CUSTOM, "--image_size=32"],
        "has a fixed size (28x28) and fixed splits; --image_size",
    ),
    (["train", *CUSTOM, "--input_range=0"], "--input_range=0: two numbers needed"),
    (["train", *CUSTOM, "--input_range=0,x"], "--input_range=0,x: numbers separated by commas"),
    (["train", *CUSTOM, "--input_mean=1,2"], "--input_mean=1,2: 2 numbers given, 1 or 1 needed"),
    (["train", *CUSTOM, "--input_std=-1"], "--input_std=-1: numbers above 0"),
    (["train", "--defense=apeganpp", "--classifier=gone.keras"], "gone.keras: no such file"),
    (["train", "--defense=apeganpp", "--classifier=small.npz"], ".keras, .h5, .hdf5, a SavedModel"),
    (["train", "--defense=apeganpp", "--classifier=notes"], "neither a SavedModel"),
    (
        ["train", "--defense=apeganpp", "--classifier=lenet", "--input_range=0,255"],
        "--classifier=lenet: takes images in [0, 1]",
    ),
    (["attack", "--attack=fgsm", "--classifier=gone.h5"], "gone.h5: no such file"),
    (["train", "--defense=magnet+apegam"], "unknown defense 'apegam'. Did you mean 'apegan'"),
    (
        ["train", "--defense=bit_depth+magnet"],
        "magnet refuses unpurified images, so it must come first",
    ),
    (["train", "--defense=bit_depth+bit_depth"], "each defence is allowed only once"),
    (["train", "--defense=magnet+bit_depth", "--bits=0"], "--bits=0: 1 to 8 is needed"),
    (["train", "--defense=magnet+bit_depth", "--window=3"], "--window: not a setting of"),
    (["train", "--defense=magnet", "--temperatures=10,hot"], "--temperatures=10,hot: numbers"),
    (
        ["train", "--defense=magnet", "--false_positive_rate=1"],
        "--false_positive_rate=1.0: a number",
    ),
    (["train", "--defense=magnet", "--run=new", "--pairs=runs"], "runs: not a run directory"),
    (["train", "--defense=defense_gan", "--restarts=0"], "--restarts=0: at least 1"),
    (["evaluate"], "--run: none given, and no --defense"),
    (["evaluate", "--defense=apegan"], "--defense=apegan: not trained yet for these images"),
    (["evaluate", "--defense=bit_dept"], "Did you mean 'bit_depth'"),
    (["evaluate", "--defense=bit_depth", "--bits=12"], "--bits=12: 1 to 8 is needed"),
    (["evaluate", "--defense=apeganpp", "--lambda1=3"], "other settings: --lambda1=0.5 (3.0 now)"),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn-apeganpp", "--dataset=digits"],
        "--dataset: --run has its own",
    ),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn-apeganpp", "--classifier=lent"],
        "Did you mean 'lenet'",
    ),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn-apeganpp", "--input_range=0,1"],
        "--input_range: needs --classifier",
    ),
    (["evaluate", "--run=nowhere"], "--run=nowhere: no such run directory"),
    (["evaluate", "--compare=runs/digits-mnist_cnn-apeganpp"], "1 run given; at least two"),
    (["evaluate", "--compare", "nowhere", "notes"], "--compare=nowhere: no such run directory"),
    (["evaluate", "--compare", "runs/digits-mnist_cnn", "notes"], "has no report yet"),
    (
        ["evaluate", "--compare", "a", "b", "--images=3"],
        "--images: --compare uses existing reports",
    ),
    (["evaluate", "--defense=bit_depth", "--output=x"], "--output: only --compare"),
    (["evaluate", "--defense=bit_depth", "stray"], "'stray': not a flag"),
    (
        ["evaluate", "--defense=bit_depth", "--images=some"],
        "--images=some: a number or all is needed",
    ),
    (
        ["evaluate", "--defense=bit_depth", "--threat_models=grey_box,whitebox"],
        "unknown --threat_models 'whitebox'. Did you mean 'white_box'",
    ),
    (["evaluate", "--defense=bit_depth", "--threat_models=grey_box"], "white_box is needed too"),
    (
        ["evaluate", "--defense=bit_depth", "--threat_models=white_box,transfer"],
        "needs --source",
    ),
    (
        ["evaluate", "--defense=bit_depth", "--source=lenet"],
        "--source=lenet: needs transfer among --threat_models",
    ),
    (
        [
            *("evaluate", "--defense=bit_depth", "--threat_models=white_box,transfer"),
            "--source=lent",
        ],
        "unknown source 'lent'. Did you mean 'lenet'",
    ),
    (["evaluate", "--run=notes"], "notes: not a run directory"),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn"],
        "is a run of kind classifier; one of kind defense is needed",
    ),
    (["export", "--run=nowhere"], "no such run directory"),
    (["evaluate", "--run=nowhere", "--attacks=deepfol"], "Did you mean 'deepfool'"),
    (["evaluate", "--run=nowhere", "--attacks=pgd:restarts=x"], "pgd:restarts=x, a number"),
    (["attack"], "--attack: none given"),
    (["attack", "--attack=deepfol"], "unknown attack 'deepfol'. Did you mean 'deepfool'"),
    (["attack", "--attack=fgsm", "--theta=1"], "fgsm: has no 'theta'"),
    (["attack", "--attack=fgsm", "--epsilon=-0.1"], "fgsm: epsilon -0.1 given"),
    (["attack", "--attack=fgsm", "--norm=l7"], "unknown fgsm: norm 'l7'"),
    (["attack", "--attack=cw", "--targets=randm"], "Did you mean 'random'"),
    (["attack", "--attack=fgsm", "--split=tset"], "unknown --split 'tset'. Did you mean 'test'"),
    (["attack", "--attack=fgsm", "--images=0"], "--images=0: at least 1"),
    (["attack", "--attack=fgsm", "--batch_size=0"], "--batch_size=0: at least 1"),
    (["attack", "--attack=fgsm", "--run=nowhere"], "--run=nowhere: no such run directory"),
    (
        ["attack", "--attack=fgsm", "--run=runs/digits-mnist_cnn-apeganpp", "--dataset=digits"],
        "--dataset: --run has its own",
    ),
    (["attack", "--attack=fgsm", "--output=notes"], "notes: exists and is not a run directory"),
    (["train", "--defense=apeganpp", "--run=new", "--pairs=nowhere"], "nowhere: no such run"),
    (
        ["train", "--defense=apeganpp", "--run=new", "--pairs=runs/digits-mnist_cnn"],
        "is a run of kind classifier; one of kind attack is needed",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: str(value)[:60])
def test_wrong_input_is_one_line_with_status_2_and_nothing_is_written(
    arguments, message, place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    (place / "notes").mkdir(exist_ok=True)
    (place / "notes" / "note.txt").write_text("mine")
    before = sorted(place.rglob("*"))
    assert main(arguments) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(place.rglob("*")) == before


def test_other_settings_are_listed_by_flag(run, capsys):
    assert main([*QUICK, "--lambda2=0.9", "--seed=3"]) == 2
    error = capsys.readouterr().err
    assert "--lambda2=0.5 (0.9 now), --seed=0 (3 now)" in error
    assert "--overwrite" in error
    assert "--epochs" not in error


def test_unfinished_training_is_not_evaluated(run, tmp_path, capsys):
    import shutil

    shutil.copytree(run, tmp_path / "half")
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    config["surroundings"]["steps"] = 490
    (tmp_path / "half" / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", f"--run={tmp_path / 'half'}"]) == 2
    assert "training is not finished (step 9 of 490)" in capsys.readouterr().err


def test_help_shows_flags_in_groups(capsys):
    assert main(["train", "--help"]) == 0
    page = capsys.readouterr().out
    for needed in ("--defense", "--lambda1", "Hyperparameters of --defense=magnet", "--epsilon"):
        assert needed in page
    assert "logtostderr" not in page
    assert main([]) == 0


def test_starter_without_an_environment_says_how_to_make_one(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("start", "train"):
        (tmp_path / "bin" / name).write_bytes((ROOT / "bin" / name).read_bytes())
        (tmp_path / "bin" / name).chmod(0o755)
    result = subprocess.run([tmp_path / "bin" / "train"], capture_output=True, text=True)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "make -C" in result.stderr
