#!/bin/sh
# Compare the answers of TF Serving's official image with those of the same model in this process.
#
#     examples/tf_serving/smoke.sh RUN [IMAGES]
#
# RUN is the run directory of a trained defence, such as runs/digits-apeganpp. Its export is served
# in a container, and the first IMAGES test images (default: all) are sent over REST and gRPC. Exit
# status: 0 if every answer agrees to 1e-4, 1 if one does not, 2 if Docker or the run is missing.
# It asks nothing, and removes its container and its files at the end. The image is
# $TF_SERVING_IMAGE, by default tensorflow/serving.
set -eu

fail() {
    echo "smoke.sh: $1" >&2
    exit 2
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: examples/tf_serving/smoke.sh RUN [IMAGES]"
run=$1
images=${2:-0}
case $images in
    *[!0-9]*) fail "IMAGES=$images: a number needed." ;;
esac
[ -f "$run/config.json" ] || fail "$run: no run directory. Train one with bin/train."
command -v docker >/dev/null ||
    fail "docker is missing. Install Docker (https://docs.docker.com/engine/install), then repeat."
docker info >/dev/null 2>&1 ||
    fail "docker is installed, but its daemon does not answer. Start it, or join the group docker."

root=$(cd "$(dirname "$0")/../.." && pwd)
image=${TF_SERVING_IMAGE:-tensorflow/serving}
work=$(mktemp -d)
container=tfdefense-smoke-$$
finish() {
    docker rm --force "$container" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$root/bin/export" --run="$run" --output="$work/models/smoke" --batch_sizes=1,8,32 ||
    fail "$run: not exported, see above."
mkdir "$work/input"
PYTHONPATH="$root" "$root/.venv/bin/python" - "$run" "$work/input/test.npz" "$images" <<'PYTHON' ||
"""Write the test images of a run into an archive."""

import sys

from tfdefense.errors import UserError
from tfdefense.experiments.load import load_dataset
from tfdefense.training.run_directory import RunDirectory

import numpy as np

run, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    test = load_dataset(RunDirectory(run)).test
except UserError as error:
    sys.exit(f"smoke.sh: {error}")
np.savez(path, images=np.asarray(test.images[: count or len(test)]))
PYTHON
    fail "$run: its test images cannot be read, see above."

echo "Starting $image"
docker run --detach --name "$container" -p 127.0.0.1::8500 -p 127.0.0.1::8501 \
    -v "$work/models/smoke:/models/smoke:ro" -e MODEL_NAME=smoke "$image" >/dev/null ||
    fail "$image: does not start, see above."

"$root/bin/purify" --model="$work/models/smoke" --input="$work/input" --output="$work/here"
for protocol in 8500 8501; do
    address=$(docker port "$container" "$protocol/tcp" | head -n 1)
    [ "$protocol" = 8501 ] && address=http://$address
    # The server needs a while to load the model and to answer its warm-up requests.
    tries=0
    until "$root/bin/purify" --model=smoke --server="$address" \
        --input="$work/input" --output="$work/served-$protocol"; do
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || {
            docker logs "$container" >&2 || true
            fail "$address: no complete answer after $tries tries; the server's log is above."
        }
        sleep 3
    done
done

PYTHONPATH="$root" "$root/.venv/bin/python" - "$work" <<'PYTHON'
"""Compare the answers of the server with those of this process."""

import csv
import sys
from pathlib import Path

import numpy as np

work = Path(sys.argv[1])


def read(folder):
    """Return purified images, and the lines of the table of predictions."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return np.load(folder / "test.npz")["images"].astype(np.float64), lines


ours, our_lines = read(work / "here")
wrong = 0
for name, port in (("gRPC", 8500), ("REST", 8501)):
    theirs, their_lines = read(work / f"served-{port}")
    difference = float(np.abs(ours - theirs).max())
    classes = sum(a["class"] == b["class"] for a, b in zip(our_lines, their_lines, strict=True))
    agrees = difference <= 1e-4 and classes == len(our_lines)
    wrong += not agrees
    print(
        f"{name}: {classes:,} of {len(our_lines):,} classes are equal, purified images differ by at"
        f" most {difference:.1e}: {'agrees' if agrees else 'DIFFERS'}"
    )
sys.exit(1 if wrong else 0)
PYTHON
