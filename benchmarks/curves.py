"""Training curves of several runs in one figure: how stable each defence's training is.

    for seed in 0 1 2; do for defense in apegan apeganpp; do
      bin/train --defense=$defense --seed=$seed --run=runs/curves-$defense-$seed
    done; done
    .venv/bin/python benchmarks/curves.py runs/curves-* --output=curves.png

Reads the event files of the runs. Beside the figure it prints, for each defence, validation accuracy at the
end over its runs, the largest fall between two validations in the second half of training, and the largest
of the generator's gradient norms over their median in that half.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfdefense.runs import Run

COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")  # Told apart by colour-blind readers too.
NORM = "train/gradient_norm_generator"


def curve(events, tag):
    """Steps and values of one tag."""
    tensors = events.Tensors(tag)
    values = [np.frombuffer(each.tensor_proto.tensor_content, np.float32) for each in tensors]
    plain = [
        float(v[0]) if len(v) else each.tensor_proto.float_val[0]
        for v, each in zip(values, tensors, strict=True)
    ]
    return np.array([each.step for each in tensors]), np.array(plain)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output", default="curves.png")
    parser.add_argument("--epsilon", type=float, default=0.3, help="of the FGSM examples looked at")
    arguments = parser.parse_args()
    attacked = f"validation/accuracy_fgsm_{arguments.epsilon:g}"
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
    found = {}
    for path in arguments.runs:
        run = Run(path)
        defense = run.require_kind("defense").settings["defense"]
        events = EventAccumulator(str(run.path / "events"), size_guidance={"tensors": 0}).Reload()
        tags = events.Tags()["tensors"]
        if attacked not in tags:
            sys.exit(f"curves: {path} has no {attacked}, but {', '.join(tags)}")
        of_defense = found.setdefault(defense, [])
        color = COLORS[list(found).index(defense) % len(COLORS)]
        label = None if of_defense else defense
        curves = {}
        for axis, tag in zip(axes, ("validation/accuracy_clean", attacked, NORM), strict=True):
            steps, values = curves[tag] = curve(events, tag)
            axis.plot(steps, values, color=color, label=label, linewidth=1, alpha=0.8)
            axis.set(title=tag.split("/")[1].replace("_", " "), xlabel="step")
        accuracies, norms = curves[attacked][1], curves[NORM][1]
        late, late_norms = accuracies[len(accuracies) // 2 :], norms[len(norms) // 2 :]
        of_defense.append(
            {
                "run": str(path),
                attacked.split("/")[1]: round(float(accuracies[-1]), 4),
                "largest_fall": round(float(max(0, *(late[:-1] - late[1:]))), 4),
                "norm_max_over_median": round(float(late_norms.max() / np.median(late_norms)), 2),
            }
        )
    axes[2].set_yscale("log")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=110)
    print(f"{arguments.output} written")
    print(json.dumps({"benchmark": "curves", "defenses": found}))


if __name__ == "__main__":
    main()
