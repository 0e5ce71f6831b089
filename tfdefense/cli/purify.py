"""bin/purify: send images through an exported model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import add_trust_flag
from tfdefense.cli.printing import print_paths
from tfdefense.cli.tensorflow_stand_in import require_tensorflow
from tfdefense.errors import WorkFailedError, require
from tfdefense.serving.client.batch_purify import BatchPurifier
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.local_client import open_model
from tfdefense.serving.client.model_client import ModelClient
from tfdefense.serving.client.purify_settings import PurifySettings
from tfdefense.serving.client.rest_client import RestClient

_LONGEST_TIMEOUT = 86_400


def command_flags() -> CommandFlags:
    """Return the flags of `bin/purify`."""
    flags = CommandFlags(
        "bin/purify",
        "sends images through an exported model and writes the purified images and the predicted classes."
        " To resume it, repeat the command. Exit status: 0, all files are purified; 1, some files were"
        " skipped or the disk is full; 2, a flag, the model, the server or its answer cannot be used; 130"
        " or 143, interrupted.",
    )
    group = "what"
    flags.add(
        group,
        "model",
        str,
        "Directory that bin/export wrote (its latest version, or one version: DIR/3); with --server, the"
        " name of the model on the server.",
    )
    flags.add(
        group,
        "server",
        str,
        "A TF Serving server that runs the model: HOST:8500 (gRPC) or http://HOST:8501 (REST).",
    )
    flags.add(
        group,
        "input",
        str,
        "Folder of pictures (PNG, JPEG, BMP, GIF, WebP, TIFF, PPM) and .npz archives, or one such file.",
    )
    flags.add(group, "output", str, "Folder for the purified files and predictions.csv.")
    flags.add("how", "batch_size", int, "Images in a request (default: 32).")
    flags.add(
        "how", "timeout", float, "Seconds for one complete answer of the server (default: 60)."
    )
    flags.add(
        "how",
        "resume",
        bool,
        "Only continue the run of the same model in --output, and never start a new one; --noresume:"
        " never continue one (default: continue it if there is one).",
    )
    flags.add(
        "how",
        "skip_bad",
        bool,
        "Files that cannot be used do not count as failure; --noskip_bad: stop at the first one"
        " (default: skip them and exit with status 1).",
    )
    flags.add(
        "how",
        "overwrite",
        bool,
        "Purify files again that are purified already, and replace files in --output that bin/purify did"
        " not write.",
    )
    flags.add(
        "how",
        "alarm",
        float,
        "Mark images whose suspicion is this or more in predictions.csv, and count them: above 0, at most"
        " 1. 0.99 marks about 1% of clean images. Only models with the output suspicion (default: none is"
        " marked).",
    )
    add_trust_flag(flags, "how")
    return flags


def run(given: FlagValues) -> None:
    """Purify; print where the images are."""
    for name in ("model", "input", "output"):
        require(name in given, f"--{name}: none given.")
    names = [field.name for field in dataclasses.fields(PurifySettings)]
    settings = PurifySettings(**{name: given[name] for name in names if name in given})
    open_given = _make_model_opener(given)
    require_tensorflow()
    model = open_given()
    source, target = Path(given["input"]), Path(given["output"])
    purifier = BatchPurifier(model, source, target, settings)
    try:
        count = purifier.run()
    except WorkFailedError:
        print_paths(_alarm_line(purifier))
        raise
    paths = {
        "Purified": f"{count:,} files by {model.version}: {target}",
        "Predictions": target / "predictions.csv",
    }
    print_paths(paths | _alarm_line(purifier))


def _alarm_line(purifier: BatchPurifier) -> dict[str, object]:
    alarm, table = purifier.settings.alarm, purifier.predictions
    if alarm is None:
        return {}
    return {"Alarm": f"{table.alarms:,} of {table.images:,} images: suspicion {alarm:g} or more"}


def _make_model_opener(given: FlagValues) -> Callable[[], ModelClient]:
    """Return a function that opens the model, or connects to the server, that the flags name."""
    timeout = given.get("timeout", 60.0)
    require(timeout > 0, f"--timeout={timeout}: more than 0 is needed.")
    require(
        timeout <= _LONGEST_TIMEOUT, f"--timeout={timeout}: at most {_LONGEST_TIMEOUT} allowed."
    )
    if "server" not in given:
        require("timeout" not in given, "--timeout: only --server takes it.")
        return lambda: open_model(given["model"])
    address = given["server"]
    host, _, port = address.removeprefix("http://").removeprefix("https://").rpartition(":")
    require(
        bool(host) and port.isascii() and port.rstrip("/").isdecimal(),
        f"--server={address}: HOST:PORT (gRPC) or http://HOST:PORT (REST) is needed.",
    )
    client = RestClient if address.startswith(("http://", "https://")) else GrpcClient
    return lambda: client(address, given["model"], timeout)
