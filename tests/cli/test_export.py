"""bin/export: versions of a run."""

import dataclasses

import pytest

from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.experiments.inputs import DataConfig
from tfdefense.serving import open_model


@pytest.mark.slow
def test_export_needs_only_the_run_and_counts_up(run, tmp_path, capsys):
    output = tmp_path / "my models"
    assert main(["export", f"--run={run}", f"--output={output}"]) == 0
    assert main(["export", f"--run={run}", f"--output={output}"]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["1", "2"]
    printed = capsys.readouterr().out
    assert f"saved_model_cli show --dir '{output}/2' --all" in printed
    assert f"bin/purify '--model={output}' --input=FOLDER" in printed
    assert open_model(output).has_suspicion
    assert open_model(run / "export").has_suspicion  # Of the training.


def test_the_printed_command_uses_the_exported_version(run, tmp_path, capsys, monkeypatch):
    """The name of a model alone means its newest version."""
    output = tmp_path / "model"
    (output / "7").mkdir(parents=True)

    def write_version(*given):
        path = output / str(given[3])
        path.mkdir()
        return path

    monkeypatch.setattr("tfdefense.cli.export.export_run", write_version)
    for version, model in ((3, output / "3"), (8, output)):
        assert main(["export", f"--run={run}", f"--output={output}", f"--version={version}"]) == 0
        assert f"bin/purify --model={model} --input=" in capsys.readouterr().out


@pytest.mark.slow
def test_without_its_images_a_run_is_exported_without_suspicion(run, tmp_path, capsys, monkeypatch):
    downloads = []

    def fail(*_, download):
        downloads.append(download)
        raise UserError("--dataset=digits: gone.")

    monkeypatch.setattr(DataConfig, "load_dataset", fail)
    for flag in ("--data_dir=elsewhere", "--precision=float16"):
        assert main(["export", f"--run={run}", f"--output={tmp_path / 'no'}", flag]) == 2
        assert "--dataset=digits: gone." in capsys.readouterr().err
    assert main(["export", f"--run={run}", f"--output={tmp_path / 'model'}"]) == 0
    assert downloads == [False, True, False]  # Only the comparison of a variant needs them.
    printed = capsys.readouterr().out
    assert "The output suspicion is left out: its validation images cannot be loaded." in printed
    assert not open_model(tmp_path / "model").has_suspicion


@pytest.mark.slow
@pytest.mark.parametrize("command", ["export", "evaluate", "certify", "attack"])
def test_a_run_whose_training_images_have_changed_is_refused(
    run, tmp_path, capsys, monkeypatch, command
):
    load = DataConfig.load_dataset

    def load_fewer(*arguments, **options):
        dataset = load(*arguments, **options)
        return dataclasses.replace(dataset, train=dataset.train.take(100))

    monkeypatch.setattr(DataConfig, "load_dataset", load_fewer)
    flags = {"export": [f"--output={tmp_path / 'model'}"], "attack": ["--attack=fgsm"]}
    assert main([command, f"--run={run}", *flags.get(command, [])]) == 2
    assert "was trained on other images: those of digits have changed" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
