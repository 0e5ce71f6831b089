"""A training step with and without the settings of `tfdefense.utils.huge_pages`.

    .venv/bin/python benchmarks/huge_pages.py --training=color_purifier

Each round trains for some steps in two new processes, one after the other, in alternating order.
Medians over the rounds: images/s, and processor seconds and page faults of a step, which depend less on
other work. The gain depends on what the system does by itself: `huge_pages_of_the_system`. The last
line is one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfdefense.utils.huge_pages import use_huge_pages

CHOICE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NAMES = ("GLIBC_TUNABLES", "TFDEFENSE_HUGE_PAGES")
SETTINGS = {"default": {"GLIBC_TUNABLES": ""}, "huge_pages": {}}
WARM_UP_STEPS = 3
CHILD = "--child"


def measure(name, precision, batch_size, steps):
    """Print what a step takes in this process."""
    from our_training import OurTraining

    training = OurTraining(name, precision, batch_size)
    training.seconds(WARM_UP_STEPS)
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = training.seconds(steps)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "images_per_second": steps * batch_size / seconds,
                "processor_seconds": (after.ru_utime - before.ru_utime) / steps,
                "page_faults": (after.ru_minflt - before.ru_minflt) / steps,
                "peak_MiB": after.ru_maxrss / 1024,
            }
        )
    )


def measure_in_child(settings):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, __file__, CHILD, *sys.argv[1:]]
    done = subprocess.run(
        command, env=environment | settings, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", default="color_purifier", help="see our_training.py")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        use_huge_pages()
        measure(arguments.training, arguments.precision, arguments.batch_size, arguments.steps)
        return
    found = {name: [] for name in SETTINGS}
    for number in range(arguments.rounds):
        for name in list(found)[:: -1 if number % 2 else 1]:
            found[name].append(measure_in_child(SETTINGS[name]))
        print(f"round {number + 1}: {[each[-1] for each in found.values()]}", flush=True)
    medians = {
        name: {key: round(statistics.median(each[key] for each in rows), 3) for key in rows[0]}
        for name, rows in found.items()
    }
    ratios = [
        new["images_per_second"] / old["images_per_second"]
        for old, new in zip(*found.values(), strict=True)
    ]
    result = {
        "benchmark": "huge_pages",
        "training": arguments.training,
        "precision": arguments.precision,
        "batch_size": arguments.batch_size,
        "huge_pages_of_the_system": CHOICE.read_text(encoding="utf-8").strip(),
        **medians,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
