"""Compare every output of a served model with that of the same model in this process.

    .venv/bin/python examples/tf_serving/compare_answers.py MODEL IMAGES.npz NAME ADDRESS...

MODEL is the exported model, IMAGES.npz holds `images`, NAME is the served name, and each ADDRESS
is "host:port" (gRPC) or "http://host:port" (REST). Exit status: 0 if all outputs of
`serving_default` agree, 3 if one does not, 2 if a server or the model does not answer.
"""

import sys
from pathlib import Path

import numpy as np

from tfdefense.errors import UserError
from tfdefense.serving import open_model
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.rest_client import RestClient

TOLERANCE = 1e-4  # Of real outputs, in units of the largest value, or of 1 if that is more.
# Of suspicion, which moves by ranks: a norm rounded otherwise can pass others.
RANK_TOLERANCE = 0.02
BATCH_SIZE = 32


def predict(client, images):
    """Return the outputs of `serving_default` for all images, by name."""
    starts = range(0, len(images), BATCH_SIZE)
    parts = [client.predict("serving_default", images[i : i + BATCH_SIZE]) for i in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def differences(ours, theirs):
    """Return a sentence for each output that is missing or differs.

    Args:
      ours, theirs: name -> array [N, ...].
    """
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            found.append(f"{name} is an output of only one of them")
            continue
        a, b = ours[name], theirs[name]
        if a.shape != b.shape:
            found.append(f"{name} has the shapes {a.shape} and {b.shape}")
        elif not np.issubdtype(a.dtype, np.floating):
            count = int(np.sum(a != b))
            found += [f"{name} of {count:,} of {len(a):,} images differs"] if count else []
        else:
            largest = float(np.abs(a.astype(np.float64) - b).max())
            scale = max(1.0, float(np.abs(a).max()))
            allowed = RANK_TOLERANCE if name == "suspicion" else TOLERANCE * scale
            if not largest <= allowed:  # NaN differs.
                found.append(f"{name} differs by {largest:.1e}, {allowed:.1e} is allowed")
    return found


def main(model, images_file, name, *addresses):
    """Print one line per address; return the exit status."""
    with np.load(images_file) as archive:
        images = archive["images"]
    ours = predict(open_model(Path(model)), images)
    wrong = 0
    for address in addresses:
        client = RestClient if address.startswith("http") else GrpcClient
        found = differences(ours, predict(client(address, name), images))
        wrong += bool(found)
        names = ", ".join(ours)
        verdict = f"DIFFERS: {'; '.join(found)}" if found else "agrees"
        print(f"{address}: {names} of {len(images):,} images: {verdict}.")
    return 3 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        print(f"compare_answers.py: {error}", file=sys.stderr)
        sys.exit(2)
