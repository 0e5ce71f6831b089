"""bin/certify: certify test images by randomized smoothing."""

from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.cli.input_flags import add_image_path_flags, add_trust_flag
from tfdefense.cli.printing import print_paths
from tfdefense.cli.tensorflow_stand_in import require_tensorflow
from tfdefense.errors import require
from tfdefense.evaluation.certification import CERTIFICATES_FILE, CertificationConfig, certify
from tfdefense.evaluation.report.certificate_report import certificate_table, save_certificate
from tfdefense.experiments.load import load_dataset, load_defense, make_image_place
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.file_lock import require_own_folders

_IMAGES = 500  # As in most publications, which use every 20th of 10,000 images.


def command_flags() -> CommandFlags:
    """Return the flags of `bin/certify`."""
    flags = CommandFlags(
        "bin/certify",
        "certifies test images by randomized smoothing: it finds for each a class, and an L2 radius within"
        " which no change of the image changes the class. To resume it, or to add images, repeat the"
        " command.",
    )
    flags.add("what", "run", str, "Run directory of a trained --defense=denoised_smoothing.")
    flags.add("what", "images", int, f"Number of test images (default: {_IMAGES}).")
    add_image_path_flags(flags, "what")
    flags.add(
        "how",
        "selection_samples",
        int,
        "Noisy copies of each image that select its class (n0 of Cohen et al. 2019; default: 100).",
    )
    flags.add(
        "how",
        "estimation_samples",
        int,
        "Other noisy copies that estimate the probability of that class, and so the radius (n of Cohen et"
        " al. 2019; default: 10000).",
    )
    flags.add("how", "alpha", float, "Probability that a certificate is wrong (default: 0.001).")
    flags.add("where", "output", str, "Directory (default: RUN/certified).")
    flags.add("where", "overwrite", bool, "Delete what it holds and start afresh.")
    add_trust_flag(flags, "where")
    return flags


def run(given: FlagValues) -> None:
    """Certify; print the table and the paths of all results."""
    require("run" in given, "--run: none given. A run directory of bin/train is needed.")
    directory = RunDirectory(given["run"])
    count = given.get("images", _IMAGES)
    require(count >= 1, f"--images={count}: at least 1 is needed.")
    if "output" not in given:
        require_own_folders(directory.path, directory.flag)
    output = RunDirectory(given.get("output", directory.path / "certified"), "output")
    names = ("estimation_samples", "selection_samples", "alpha")
    config = CertificationConfig(**{name: given[name] for name in names if name in given})
    directory.require_kind("defense")
    place = make_image_place(directory, given.get("data_dir"), given.get("dataset"))
    require_tensorflow()
    defense = load_defense(directory)
    test = load_dataset(directory, place).test.take(count)
    certificate = certify(defense, test, output, config, overwrite=given.get("overwrite", False))
    save_certificate(certificate, output.path)
    width = max(len(line[0]) for line in certificate_table(certificate))
    print(
        "\n".join(f"{radius:{width}}  {share}" for radius, share in certificate_table(certificate))
    )
    print(f"\n{certificate.summary}\n")
    path = output.path
    print_paths(
        {
            "Table": path / "certified.md",
            "Curve": path / "certified.png",
            "Images": path / CERTIFICATES_FILE,
        }
    )
