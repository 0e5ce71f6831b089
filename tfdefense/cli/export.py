"""bin/export: export the defence of a run as a SavedModel or a TFLite model."""

import shlex
from pathlib import Path

from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import add_image_path_flags, add_trust_flag
from tfdefense.cli.printing import installed_command, print_paths
from tfdefense.cli.tensorflow_stand_in import require_tensorflow
from tfdefense.errors import require
from tfdefense.experiments.export import export_run
from tfdefense.experiments.load import make_image_place
from tfdefense.serving.core.model_directory import latest_version
from tfdefense.serving.exporter.output_directory import require_no_links
from tfdefense.serving.exporter.variant import Variant
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.file_lock import require_own_folders


def command_flags() -> CommandFlags:
    """Return the flags of `bin/export`."""
    flags = CommandFlags(
        "bin/export",
        "writes purifier and classifier of a run as one SavedModel, under the next free version number.",
    )
    flags.add("where", "run", str, "Run directory that bin/train wrote.")
    flags.add(
        "where",
        "output",
        str,
        "Directory of the numbered versions; its name is the name of the model (default: RUN/export;"
        " RUN/tflite).",
    )
    flags.add("where", "version", int, "Number of the version (default: the next free number).")
    group = "how"
    flags.add(group, "format", str, "saved_model (the default) or tflite.")
    flags.add(
        group,
        "precision",
        str,
        "Type of the weights: float32 (the default); float16, half the size; bfloat16, half the size,"
        " also used for computing (SavedModel only); int8, a quarter of the size (TFLite only). Everything"
        " but a float32 SavedModel is compared with the defence on test images.",
    )
    flags.add(
        group,
        "max_batch",
        int,
        "Largest number of images in a request (default: 4096; SavedModel only).",
    )
    flags.add_typed(
        group,
        "batch_sizes",
        tuple[int, ...],
        "Numbers of images of the warm-up requests: the allowed_batch_sizes of TF Serving, such as"
        " 1,8,32,128 (default: 1,8,32; SavedModel only).",
    )
    add_image_path_flags(
        flags,
        group,
        extra=" Validation images calibrate the output suspicion. If they are not on disk, a float32"
        " SavedModel has no suspicion; nothing is downloaded for it.",
    )
    add_trust_flag(flags, "where")
    return flags


def run(given: FlagValues) -> None:
    """Export a run; print its path and how to use it."""
    require("run" in given, "--run: none given. A run directory of bin/train is needed.")
    directory = RunDirectory(given["run"])
    names = ("format", "precision", "max_batch", "batch_sizes")
    settings = {name: given[name] for name in names if name in given}
    variant = Variant(**settings)
    servable = variant.format == "saved_model"
    if "output" not in given:
        require_own_folders(directory.path, directory.flag)
    output = Path(given.get("output", directory.path / ("export" if servable else variant.format)))
    require_no_links(output)
    directory.require_kind("defense")
    place = make_image_place(directory, given.get("data_dir"), given.get("dataset"))
    require_tensorflow()
    path = export_run(directory, output, variant, given.get("version"), place)
    paths: dict[str, object] = {
        "SavedModel" if servable else "TFLite": path,
        "Model card": path / "model_card.md",
    }
    if servable:
        paths["Inspect it"] = installed_command("saved_model_cli", "show", "--dir", path, "--all")
    # The name of the model alone means its newest version.
    is_newest = path == latest_version(output)
    model = shlex.quote(f"--model={output if is_newest else path}")
    paths["Use it"] = f"bin/purify {model} --input=FOLDER --output=FOLDER"
    print_paths(paths)
