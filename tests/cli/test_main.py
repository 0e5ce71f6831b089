"""Help, and wrong input of every command: one line, status 2, nothing written."""

import subprocess
from pathlib import Path

import pytest

from tfdefense.cli.main import main

ROOT = Path(__file__).parents[2]


CUSTOM = ["--defense=apeganpp", "--classifier=custom.keras"]


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
    (
        ["train", "--defense=apeganpp", "--epohcs=3"],
        "unknown flag '--epohcs'. Did you mean '--epochs'?",
    ),
    (["train", "--defense=apegan", "--recipe=color"], "--defense=apegan has no recipes. Leave"),
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
    (["evaluate", "--defense=bit_depth", "--eot_draws=3"], "bit_depth draws no random numbers"),
    (["evaluate", "--defense=total_variation", "--eot_draws=0"], "--eot_draws=0: at least 1"),
    (["train", "--classifier=lenett"], "unknown classifier 'lenett'. Did you mean 'lenet'"),
    (["train", "--classifier=lenet", "--lambda1=1"], "--lambda1: not a setting of a classifier"),
    (["train", "--classifier=lenet", "--optimizer=sdg"], "Did you mean 'sgd'"),
    (
        ["train", "--classifier=lenet", "--batch_size=5000"],
        "--batch_size=5000: more than the 1,257 training images of digits; 1 to 1,257",
    ),
    (
        ["train", "--defense=apegan", "--batch_size=5000"],
        "--batch_size=5000: more than the 1,257 training images of digits; 1 to 1,257",
    ),
    (
        ["train", "--defense=apegan", "--batch_size=200", "--train_images=100"],
        "--batch_size=200: more than the 100 training images of digits; 1 to 100",
    ),
    (
        ["train", "--defense=apegan", "--pairs=runs,runs", "--pair_weights=1,2,3"],
        "--pair_weights=1,2,3: 3 weights for the 2 directories of --pairs",
    ),
    (
        ["train", "--defense=apegan", "--pairs=runs,runs", "--pair_weights=1,x"],
        "--pair_weights=1,x: numbers separated by commas are needed",
    ),
    (
        ["train", "--defense=apegan", "--pairs=runs,runs", "--pair_weights="],
        "--pair_weights=: 0 weights for the 2 directories of --pairs",
    ),
    (["train", "--classifier=lenet", "--mirror"], "a mirrored image of digits has another class"),
    (["train", "--classifier=lenet", "--average=1"], "--average=1.0: a number in [0, 1)"),
    (["train", "--defense=apegan", "--mirror"], "a mirrored image of digits has another class"),
    (["train", "--defense=apegan+bit_depth", "--mirror"], "a mirrored image of digits has another"),
    (
        ["train", "--defense=apegan", "--augmentation=shfit"],
        "unknown --augmentation 'shfit'. Did you mean 'shift'",
    ),
    (
        ["train", "--defense=bit_depth", "--mirror"],
        "--mirror: not a setting of --defense=bit_depth",
    ),
    (
        ["train", "--defense=magnet", "--average=0.9"],
        "--average: not a setting of --defense=magnet",
    ),
    (["train", "--classifier=lenet", "--cutout=28"], "--cutout=28: images of 28x28 given"),
    (["train", "--defense=apegan", "--cutout=28"], "--cutout=28: images of 28x28 given"),
    (["train", "--defense=apegan+bit_depth", "--cutout=-1"], "--cutout=-1: 0 or more needed"),
    (
        ["train", "--defense=bit_depth", "--cutout=4"],
        "--cutout: not a setting of --defense=bit_depth",
    ),
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
    (["train", *CUSTOM, "--channels=2"], "--channels=2: 1 (grey) or 3 (colour) needed"),
    (["train", *CUSTOM, "--input_range=0"], "--input_range=0: two numbers needed"),
    (["train", *CUSTOM, "--input_range=0,x"], "--input_range=0,x: numbers separated by commas"),
    (["train", *CUSTOM, "--input_mean=1,2"], "--input_mean=1,2: 2 numbers given, 1 or 1 needed"),
    (["train", *CUSTOM, "--input_std=-1"], "--input_std=-1: numbers above 0"),
    (["train", *CUSTOM, "--input_preset=x"], "--input_preset=x: one of caffe, torch, tf"),
    (["train", *CUSTOM, "--input_preset=torch"], "is for images with 3 channels, the data has 1"),
    (["train", *CUSTOM, "--signature=x"], "is a Keras file; only SavedModels have signatures"),
    (["train", *CUSTOM, "--output_name=x"], "--output_name=x: "),
    (["train", "--defense=apeganpp", "--classifier=gone.keras"], "gone.keras: no such file"),
    (["train", "--defense=apeganpp", "--classifier=small.npz"], ".keras, .h5, .hdf5, a SavedModel"),
    (["train", "--defense=apeganpp", "--classifier=notes"], "neither a SavedModel"),
    (
        ["train", "--defense=apeganpp", "--classifier=lenet", "--input_range=0,255"],
        "--classifier=lenet: takes images in [0, 1]",
    ),
    (
        ["train", "--defense=apeganpp", "--classifier=lenet", "--signature=x"],
        "--signature and --output_name are for custom models",
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
    (
        ["train", "--defense=apegan", "--run=new", "--pairs=runs", "--strengths=0,0.1"],
        "--strengths: with --pairs a defence learns from the stored images alone",
    ),
    (["train", "--defense=defense_gan", "--restarts=0"], "--restarts=0: at least 1"),
    (["evaluate"], "--run: none given, and no --defense"),
    (["evaluate", "--defense=apegan"], "--defense=apegan: not trained yet for these images"),
    (["evaluate", "--defense=bit_dept"], "Did you mean 'bit_depth'"),
    (["evaluate", "--defense=bit_depth", "--bits=12"], "--bits=12: 1 to 8 is needed"),
    (["evaluate", "--defense=apeganpp", "--lambda1=3"], "other settings: --lambda1=0.5 (3.0 now)"),
    (
        ["evaluate", "--run=runs/digits-mnist_cnn-apeganpp", "--dataset=digits"],
        "--dataset=digits: --run has its own, digits. Leave it out.",
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
        "--dataset=digits: --run has its own, digits. Leave it out.",
    ),
    (["attack", "--attack=fgsm", "--output=notes"], "notes: exists and is not a run directory"),
    (["train", "--defense=apeganpp", "--run=new", "--pairs=nowhere"], "nowhere: no such run"),
    (
        ["train", "--defense=apeganpp", "--run=new", "--pairs=runs/digits-mnist_cnn"],
        "is a run of kind classifier; one of kind attack is needed",
    ),
]


@pytest.mark.slow
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
