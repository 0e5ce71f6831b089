"""Soak test: 10,000 mixed requests to an exported model behind the fake server, from eight clients.

    .venv/bin/python -m tests.soak.serving_load [--model=DIR] [--requests=10000] [--batching]

Valid requests of every size and kind, and the mistakes of clients: wrong sizes, ranges, dtypes and
ranks, NaN, too many images, no images, damaged files, unknown signatures. Every answer must equal
that of the model itself, or be the error that belongs to the mistake. The memory of the server must
not grow. The last line is one JSON object. The exit status is 1 if anything is wrong.

With --batching, the server joins the requests that wait, one in ten requests is invalid, and a
valid request that fails with its batch is sent again. Then a C program on TensorFlow's C API sends
as many requests to the model itself, without and with batching (tests/serving/load).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras

import tfdefense
from tests.serving.fake_server import NAME
from tests.serving.guide import guide_batching, guide_block
from tests.serving.load.c_program import compile_load_test, run_load_test
from tests.soak.mixed_requests import send_requests
from tfdefense.serving import export, open_model
from tfdefense.serving.client.grpc_client import GrpcClient
from tfdefense.serving.client.rest_client import RestClient

_MAX_GROWTH_MIB = 64
_TIMEOUT = 600.0  # Seconds; a shared machine may stop the server for minutes.
_ROOT = Path(__file__).parents[2]


def export_small_model(directory):
    """Export an untrained purifier in front of an untrained classifier."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    return export(tfdefense.defenses.APEGANPlusPlus(keras.Sequential(layers)), directory / NAME)


def resident_mib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def start_server(path, batching_file):
    """Start the fake server as a process; return it and its clients."""
    command = [sys.executable, "-m", "tests.serving.fake_server", path]
    if batching_file:
        command.append(f"--batching_parameters_file={batching_file}")
    # With an arena for each of its many threads, glibc keeps 130 MiB more, which hides a leak.
    server = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    grpc_address, rest_address = server.stdout.readline().split()
    clients = [
        GrpcClient(grpc_address, NAME, _TIMEOUT),
        RestClient(rest_address, NAME, _TIMEOUT),
    ]
    return server, clients


def run_requests(path, requests, batching_file=None):
    """Send mixed requests to a server process; `batching_file` makes the server join them."""
    batching = batching_file is not None
    server, clients = start_server(path, batching_file)
    started = time.perf_counter()
    result = send_requests(
        clients,
        open_model(path),
        requests,
        batching=batching,
        measure=lambda: round(resident_mib(server)),
    )
    seconds = round(time.perf_counter() - started, 1)
    counts, _ = server.communicate()
    if batching:
        result["batches"], result["joined"] = map(int, counts.split())
    memory = result.pop("measured")
    return {"benchmark": "mixed requests", **result, "seconds": seconds, "server_mib": memory}


def patient_batching():
    """Return the guide's parameters with a longer wait: eight Python clients seldom meet in 2 ms."""
    text = guide_block("max_batch_size")
    return text.replace(
        "batch_timeout_micros { value: 2000 }", "batch_timeout_micros { value: 20000 }"
    )


def run_c_program(path, requests, directory):
    """Run the C load test without and with batching; return its results, and if one is wrong."""
    program = compile_load_test(directory / "serving_load")
    results, failed = [], False
    for batching in (None, guide_batching()):
        status, result, errors = run_load_test(program, path, requests, batching)
        if status:
            print(errors, file=sys.stderr)
        results.append(result)
        failed |= status != 0
    return results, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="an exported SavedModel (default: a small one)")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--batching", action="store_true", help="join requests; run the C program")
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        path = given.model or export_small_model(Path(scratch))
        file = Path(scratch) / "batching_parameters.txt" if given.batching else None
        if file:
            file.write_text(patient_batching(), encoding="utf-8")
        result = run_requests(path, given.requests, file)
        if given.batching and shutil.which("gcc") is None:
            print("gcc is not installed: the C program is left out", file=sys.stderr)
        elif given.batching:
            result["c_program"], failed = run_c_program(path, given.requests, Path(scratch))
    print(json.dumps(result))
    grown = result["server_mib"][-1] - result["server_mib"][0]
    if given.batching and not result["joined"]:
        print("no requests were joined, so batching was not tried", file=sys.stderr)
        failed = True
    sys.exit(failed or result["wrong"] > 0 or grown > _MAX_GROWTH_MIB)


if __name__ == "__main__":
    main()
