#!/bin/sh
# Compare the answers of TF Serving's official image with those of the same model in this process.
#
#     examples/tf_serving/smoke.sh RUN [IMAGES]
#
# RUN is the run directory of a trained defence, such as
# runs/digits-mnist_cnn-apeganpp. Its export is served
# in a container, and the first IMAGES test images (default: all) are sent over REST and gRPC, with
# bin/purify and then by compare_answers.py, which compares every output. Exit status: 0 if all
# outputs agree (to 1e-4; suspicion to 0.02), 1 if one does not, 2 if a part of the check cannot run;
# the last line then says which one.
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
work=$(mktemp -d) || fail "no temporary directory can be made, see above."
container=tfdefense-smoke-$$
fail_with_log() {
    docker logs "$container" >&2 || true
    fail "$1; the server's log is above."
}
finish() {
    docker rm --force "$container" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$root/bin/export" --run="$run" --output="$work/models/smoke" --batch_sizes=1,8,32 ||
    fail "$run: not exported, see above."
mkdir "$work/input" || fail "$work: cannot be written, see above."
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

for protocol in 8500 8501; do
    address=$(docker port "$container" "$protocol/tcp" | head -n 1)
    [ -n "$address" ] || fail_with_log "$image: its container has no port $protocol"
    [ "$protocol" = 8501 ] && address=http://$address
    # The server needs a while to load the model and to answer its warm-up requests.
    tries=0
    until "$root/bin/purify" --model=smoke --server="$address" \
        --input="$work/input" --output="$work/served-$protocol"; do
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] ||
            fail_with_log "$address: bin/purify gets no complete answer in $tries tries"
        sleep 3
    done
    addresses="${addresses:-} $address"
done

status=0
# shellcheck disable=SC2086  # One argument per address.
PYTHONPATH="$root" "$root/.venv/bin/python" "$root/examples/tf_serving/compare_answers.py" \
    "$work/models/smoke" "$work/input/test.npz" smoke $addresses || status=$?
[ "$status" = 0 ] || [ "$status" = 3 ] || fail "the answers were not compared, see above."
[ "$status" = 0 ] || {
    echo "smoke.sh: the answers of $image differ, see above." >&2
    exit 1
}
