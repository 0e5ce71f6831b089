"""Run of `examples/tf_serving/smoke.sh` with a stand-in for Docker that starts the fake server.

    .venv/bin/python -m tests.soak.smoke_script runs/digits-mnist_cnn-apeganpp

The exit status is that of the script.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "tf_serving" / "smoke.sh"

# The stand-in starts the fake server for "run", remembers its addresses, and ends it for "rm".
DOCKER = """#!{python}
import os, pathlib, signal, subprocess, sys, time
state = pathlib.Path(__file__).with_name("state")
pid = state.with_suffix(".pid")
command, arguments = sys.argv[1], sys.argv[2:]
if command == "run":
    volume = next(each for each in arguments if each.endswith(":/models/smoke:ro"))
    (version,) = pathlib.Path(volume.split(":")[0]).iterdir()
    line = f"sleep 1000 | {python} -m tests.serving.fake_server {{version}} smoke > {{state}}"
    server = subprocess.Popen(
        ["sh", "-c", line], cwd="{root}", start_new_session=True, stderr=subprocess.DEVNULL
    )
    pid.write_text(str(server.pid))
    for _ in range(200):
        if state.exists() and state.read_text().endswith("\\n"):
            break
        time.sleep(0.5)
if command == "port":
    grpc, rest = state.read_text().split()
    print(grpc if arguments[1] == "8500/tcp" else rest.removeprefix("http://"))
if command == "rm" and pid.exists():
    os.killpg(int(pid.read_text()), signal.SIGKILL)
"""


def main():
    with tempfile.TemporaryDirectory() as directory:
        docker = Path(directory) / "docker"
        docker.write_text(DOCKER.format(python=sys.executable, root=ROOT), encoding="utf-8")
        docker.chmod(0o755)
        environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
        sys.exit(subprocess.call([str(SCRIPT), sys.argv[1], "100"], env=environment))


if __name__ == "__main__":
    main()
