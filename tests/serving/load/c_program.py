"""C programs on TensorFlow's C API: compilation, and a run of the load test."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tests.serving.batching import BatchingParameters


def compile_with_tensorflow(sources: Sequence[Path], program: Path) -> None:
    """Compile C files with gcc against TensorFlow's library; every warning is an error."""
    library = tf.sysconfig.get_lib()
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"]
    paths = [f"-I{tf.sysconfig.get_include()}", f"-L{library}", f"-Wl,-rpath,{library}"]
    linked = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-lpthread", "-lm"]
    subprocess.run(["gcc", *options, *paths, *sources, "-o", program, *linked], check=True)


def compile_load_test(program: Path) -> Path:
    """Compile the C files of this folder."""
    compile_with_tensorflow(sorted(Path(__file__).parent.glob("*.c")), program)
    return program


def read_signature(path: Path, name: str = "serving_default") -> meta_graph_pb2.SignatureDef:
    """Read one signature of a SavedModel without loading the model."""
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    return content.meta_graphs[0].signature_def[name]


def run_load_test(
    program: Path,
    path: Path,
    requests: int,
    batching: BatchingParameters | None = None,
    flags: Sequence[str] = (),
) -> tuple[int, dict[str, Any], str]:
    """Send requests to the SavedModel at `path`; compare all outputs that do not move by ranks.

    Returns:
      Exit status, the JSON object that the program prints, and its standard error.
    """
    signature = read_signature(path)
    images = signature.inputs["images"]
    outputs = [each.name for name, each in signature.outputs.items() if name != "suspicion"]
    command = [
        *(program, f"--model={path}", f"--requests={requests}", f"--input={images.name}"),
        f"--image_shape={','.join(str(each.size) for each in images.tensor_shape.dim[1:])}",
        *(f"--output={name}" for name in outputs),
    ]
    if batching:
        command += [
            f"--max_batch_size={batching.max_batch_size}",
            f"--batch_timeout_micros={batching.batch_timeout_micros}",
            f"--num_batch_threads={batching.num_batch_threads}",
            f"--allowed_batch_sizes={','.join(map(str, batching.allowed_batch_sizes))}",
        ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.returncode, json.loads(done.stdout), done.stderr
