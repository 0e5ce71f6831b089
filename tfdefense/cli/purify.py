"""bin/purify: flags in front of `serving.purifying`."""

from pathlib import Path
from typing import Any

from tfdefense.cli.flags import FlagGroups
from tfdefense.errors import require
from tfdefense.serving.client.batch_purify import Purifying
from tfdefense.serving.client.grpc import GrpcModel
from tfdefense.serving.client.local import open_model
from tfdefense.serving.client.model_client import ServedModel
from tfdefense.serving.client.rest import RestModel


def command_flags() -> FlagGroups:
    """The flags of `bin/purify`."""
    flags = FlagGroups(
        "bin/purify",
        "sends images through an exported model: purified images, and what they were taken for. The same command again goes on"
        " where it stopped.",
    )
    group = "what"
    flags.add(
        group,
        "model",
        str,
        "Directory that bin/export wrote (its latest version is taken, or name one: DIR/3); with --server, the name under"
        " which it is served.",
    )
    flags.add(
        group,
        "server",
        str,
        "A TF Serving to ask in its place: HOST:8500 (gRPC) or http://HOST:8501 (REST).",
    )
    flags.add(group, "input", str, "Folder of PNGs, JPEGs and .npz archives, or one such file.")
    flags.add(group, "output", str, "Folder for the same, purified, and predictions.csv.")
    flags.add("how", "batch_size", int, "Images in a request (default: 32).")
    flags.add("how", "timeout", float, "Seconds to wait for a server's answer (default: 60).")
    flags.add("how", "overwrite", bool, "Do again what is done already.")
    return flags


def run(given: dict[str, Any]) -> None:
    """Purifies; prints where the images are."""
    for name in ("model", "input", "output"):
        require(name in given, f"--{name}: none given.")
    model = _opened(given)
    source, target = Path(given["input"]), Path(given["output"])
    settings = {name: given[name] for name in ("batch_size", "overwrite") if name in given}
    count = Purifying(model, source, target, **settings).run()
    print(f"Purified       {count:,} files by {model.version}: {target}")
    print(f"Predictions    {target / 'predictions.csv'}")


def _opened(given: dict[str, Any]) -> ServedModel:
    timeout = given.get("timeout", 60.0)
    require(timeout > 0, f"--timeout={timeout}: more than 0 needed.")
    if "server" not in given:
        require("timeout" not in given, "--timeout: only --server has one.")
        return open_model(given["model"])
    address = given["server"]
    host, _, port = address.removeprefix("http://").removeprefix("https://").rpartition(":")
    require(
        bool(host) and port.rstrip("/").isdecimal(),
        f"--server={address}: HOST:PORT (gRPC) or http://HOST:PORT (REST) needed.",
    )
    client = RestModel if address.startswith("http") else GrpcModel
    return client(address, given["model"], timeout)
