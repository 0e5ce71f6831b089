"""bin/evaluate: runs, other classifiers, every threat model, comparisons."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tfdefense.cli.main import main
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.threat_models import THREAT_MODELS
from tfdefense.zoo.pretrained import MODELS


@pytest.mark.slow
def test_evaluate_finds_what_train_reported(run, tmp_path):
    """A later command loads the weights that training ended with."""
    shutil.copytree(run, tmp_path / "copy")
    rows = json.loads((run / "report.json").read_text())["rows"]
    flags = ["--images=20", "--white_box_images=4", "--attacks=fgsm,pgd", "--checks=none"]
    assert main(["evaluate", f"--run={tmp_path / 'copy'}", *flags]) == 0
    again = json.loads((tmp_path / "copy" / "report.json").read_text())["rows"]
    for first, second in zip(rows, again, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    first, second = (np.load(place / "predictions.npz") for place in (run, tmp_path / "copy"))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


@pytest.mark.slow
def test_evaluate_needs_only_the_run(run, tmp_path, monkeypatch, capsys):
    shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    few = ["--attacks=bim", "--epsilon=0.2", "--images=10", "--checks=none"]
    assert main(["evaluate", "--run=moved", *few]) == 0
    assert "bim 0.2" in capsys.readouterr().out
    rows = json.loads(Path("moved/report.json").read_text())["rows"]
    assert {row["n"] for row in rows} == {10}


@pytest.mark.slow
def test_evaluate_finds_a_trained_defence_by_name(run, tmp_path, capsys, monkeypatch):
    """Flags of the training need not be repeated."""
    shutil.copytree(run, tmp_path / run)
    monkeypatch.chdir(tmp_path)
    flags = ["--attacks=fgsm", "--images=10", "--white_box_images=2", "--checks=none"]
    (run / "report.json").unlink()
    assert main(["evaluate", "--defense=apeganpp", *flags]) == 0
    assert f"{run}/report.html" in capsys.readouterr().out
    rows = json.loads((run / "report.json").read_text())["rows"]
    assert {row["n"] for row in rows} == {10, 2}


@pytest.mark.slow
def test_evaluate_creates_the_run_of_a_defence_that_does_not_learn(run, capsys):
    flags = ["--attacks=fgsm", "--images=10", "--white_box_images=2", "--checks=none"]
    name = "bit_depth+spatial_smoothing"
    assert main(["evaluate", f"--defense={name}", "--bits=2", *flags]) == 0
    assert f"{name}, white box" in capsys.readouterr().out
    assert Path(f"runs/digits-mnist_cnn-{name}/gallery.png").is_file()
    assert main(["export", f"--run=runs/digits-mnist_cnn-{name}"]) == 0


@pytest.mark.slow
def test_evaluate_puts_a_trained_defence_in_front_of_another_classifier(run):
    another = ["--classifier=custom.keras", "--input_range=0,255"]
    few = ["--images=20", "--white_box_images=4", "--attacks=fgsm", "--checks=none"]
    before = (run / "report.json").read_text()
    assert main(["evaluate", f"--run={run}", *another, *few]) == 0
    (report,) = run.glob("guarding-custom-????????/report.json")
    rows = json.loads(report.read_text())["rows"]
    assert {row["classifier"] for row in rows} == {"custom"}
    trained_with = {row["defense"]: row["trained_with"] for row in rows}
    assert trained_with == {"none": "none", "apeganpp": "mnist_cnn"}
    assert (run / "report.json").read_text() == before


@pytest.mark.slow
def test_evaluate_under_every_threat_model(run, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    given = ["--threat_models=grey_box,white_box,transfer,black_box", "--source=custom.keras"]
    # With a fixed number of images, the checks and the accuracy curve take the time that they need.
    few = ["--images=20", "--white_box_images=4", "--check_images=4", "--attacks=fgsm"]
    assert main(["evaluate", f"--run={copy}", *given, *few]) == 2
    printed = capsys.readouterr().err  # It takes [0, 255].
    assert "--source=custom.keras: accuracy is" in printed
    assert "--input_range" not in printed
    given[1] = "--source=runs/digits-mnist_cnn"
    assert main(["evaluate", f"--run={copy}", *given, *few]) == 0
    report = json.loads((copy / "report.json").read_text())
    assert {row["threat_model"] for row in report["rows"]} == {"none", *THREAT_MODELS}
    assert len(report["sanity"]) == len(CHECKS)
    assert report["settings"]["source"] == "runs/digits-mnist_cnn"
    for name in ("gallery", "epsilon", "perturbations", "training"):
        assert (copy / f"{name}.png").stat().st_size > 5_000
        assert (copy / f"{name}.svg").read_text().startswith("<?xml")
    with np.load(copy / "predictions.npz") as kept:
        assert kept["apeganpp/fgsm/transfer/perturbation"].shape == (20, 3)
        assert kept["apeganpp/fgsm/white_box/predicted"].shape == (4,)


@pytest.mark.slow
def test_compare_puts_runs_into_one_table_and_figure(run, tmp_path, capsys):
    few = ["--images=20", "--white_box_images=4", "--attacks=fgsm,pgd", "--checks=none"]
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


def test_unfinished_training_is_not_evaluated(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half" / "files.json").unlink()  # It is written when training has ended.
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    config["surroundings"]["steps"] = 490
    (tmp_path / "half" / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", f"--run={tmp_path / 'half'}"]) == 2
    assert "training is not finished (step 8 of 490)" in capsys.readouterr().err


def test_pretrained_has_its_own_inputs(capsys):
    name = "robust_purifier/mnist/mnist_cnn"
    for flags, message in (
        ([f"--pretrained={name}", "--run=runs/x"], "--run given too"),
        ([f"--pretrained={name}", "--dataset=digits"], "--dataset: --pretrained has its own"),
        ([f"--pretrained={name}", "--input_range=0,255"], "--input_range: needs --classifier"),
        ([f"--pretrained={name}", "--classifier=lenett"], "Did you mean 'lenet'?"),
        (["--pretrained=robust"], "unknown purifier 'robust'"),
    ):
        assert main(["evaluate", *flags]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_pretrained_purifier_is_put_in_front_of_another_classifier(
    shared_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    name = "robust_purifier/mnist/mnist_cnn"
    other = MODELS / "apeganpp/mnist/lenet/classifier.keras"
    few = ["--attacks=fgsm", "--surrogates=leaky", "--images=50", "--white_box_images=4"]
    flags = [f"--pretrained={name}", f"--data_dir={shared_data}", *few, "--checks=none"]
    assert main(["evaluate", *flags, f"--classifier={other}"]) == 0
    place = Path("runs/pretrained-robust_purifier-mnist-mnist_cnn")
    assert not (place / "report.json").exists()
    (report,) = place.glob("guarding-classifier-????????/report.json")
    rows = json.loads(report.read_text())["rows"]
    assert {row["classifier"] for row in rows} == {"classifier"}
    assert {row["defense"]: row["trained_with"] for row in rows} == {
        "none": "none",
        "robust_purifier": "mnist_cnn",
    }
    undefended = next(row for row in rows if row["defense"] == "none" and row["attack"] == "fgsm")
    defended = next(row for row in rows if row["threat_model"] == "grey_box")
    assert undefended["accuracy"] < 0.2
    assert defended["accuracy"] > 0.5


@pytest.mark.slow
def test_a_pretrained_purifier_is_not_put_in_front_of_a_classifier_of_other_images(
    shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    name = "robust_purifier/mnist/mnist_cnn"
    flags = [f"--pretrained={name}", f"--data_dir={shared_data}", "--classifier=other.keras"]
    for shape, classes, message in (
        ((8, 8, 3), 10, "takes images of (8, 8, 3), the data has (28, 28, 1)."),
        ((28, 28, 1), 7, "gives 7 classes, the data has 10."),
    ):
        layers = [keras.layers.Flatten(), keras.layers.Dense(classes)]
        keras.Sequential([keras.Input(shape), *layers]).save("other.keras")
        assert main(["evaluate", *flags]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"--classifier=other.keras: {message}" in line
    assert not list(Path().glob("runs/pretrained-*"))


@pytest.mark.slow
def test_a_pretrained_purifier_is_attacked_through_all_surrogates(
    shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    name = "--pretrained=robust_purifier/mnist/mnist_cnn"
    few = ["--attacks=fgsm", "--images=8", "--white_box_images=8", "--checks=none"]
    assert main(["evaluate", name, f"--data_dir={shared_data}", *few]) == 0
    assert "accuracy, leaky alone" in capsys.readouterr().out
    report = json.loads(
        Path("runs/pretrained-robust_purifier-mnist-mnist_cnn/report.json").read_text()
    )
    fooled = report["surrogates"][0]["fooled"]
    assert list(fooled) == ["leaky", "true", "softplus_0.3", "softplus_1"]
    unknown = ["--surrogates=softplus_2"]
    assert main(["evaluate", name, f"--data_dir={shared_data}", *few, *unknown]) == 2
    assert "Did you mean 'softplus_" in capsys.readouterr().err
