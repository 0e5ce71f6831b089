"""Tables of what bin/purify prints for each wrong answer of a server: name -> (answer, pattern)."""

import grpc
import numpy as np

from tests.serving.client import misbehaving_grpc as rpc
from tests.serving.client import misbehaving_rest as rest
from tests.serving.client.misbehaving_grpc import GrpcAnswer
from tests.serving.client.misbehaving_rest import RestAnswer

Status = grpc.StatusCode
NO_SERVER = r"no server answers\. Start one with: docker run .*The last attempt: "
TOO_LATE = r"no complete answer within 1 seconds\. If the server is only slow, give a smaller"
NOT_JSON = "not a TF Serving server: its answer is not JSON: "

REST_ANSWERS = {
    "no outputs": (RestAnswer([]), 'not a TF Serving server: no "outputs" in it'),
    "null outputs": (
        RestAnswer({"outputs": None}),
        "its output purified: null in place of numbers",
    ),
    "one number": (RestAnswer({"outputs": 1}), "its answer lacks classes, probabilities"),
    "missing output": (RestAnswer(rest.outputs(classes=None)), "its answer lacks classes; it has"),
    "missing image": (RestAnswer(rest.outputs(classes=[1])), r"classes is int64 of shape \(1,\)"),
    "ragged": (RestAnswer(rest.outputs(probabilities=[[1], [0, 1]])), "rows of different lengths"),
    "text": (RestAnswer(rest.with_pixel("0.5")), "purified: text in place of numbers"),
    "null": (RestAnswer(rest.with_pixel(None)), "purified: null in place of numbers"),
    "true": (RestAnswer(rest.with_pixel(True)), "purified: true or false in place of numbers"),  # noqa: FBT003
    "object": (RestAnswer(rest.with_pixel({})), "purified: an object in place of numbers"),
    "half a class": (RestAnswer(rest.outputs(classes=[0.5, 1])), "fractions in place of whole"),
    "refused 1": (RestAnswer(rest.outputs(refused=[0, 1])), "whole numbers in place of true or"),
    "wrong shape": (RestAnswer(rest.outputs(purified=[[1]] * 2)), r"float32 of shape \(2, 1\)"),
    "NaN": (RestAnswer(rest.with_pixel(float("nan"))), "purified contains NaN or infinity"),
    "1e300": (RestAnswer(rest.with_pixel(1e300)), "purified contains NaN or infinity"),
    "400 digits": (RestAnswer(rest.with_pixel(10**400)), "purified: a number is too large"),
    "5,000 digits": (
        RestAnswer(rest.text_of(rest.with_pixel("X"), "X", "9" * 5000)),
        f"{NOT_JSON}a number of too many digits",
    ),
    "0 to 255": (RestAnswer(rest.with_pixel(255)), r"values from 0 to 255; \[0, 1\] is needed"),
    "negative norm": (RestAnswer(rest.outputs(perturbation_norm=[1, -1])), "-1 to 1; 0 or more"),
    "class 2 of 2": (RestAnswer(rest.outputs(classes=[1, 2])), "names class 2; the classes are 0"),
    "class -1": (RestAnswer(rest.outputs(classes=[-1, 0])), "names class -1; the classes are 0"),
    "class 10^30": (
        RestAnswer(rest.outputs(classes=[10**30, 0])),
        "classes: a number is too large",
    ),
    "three classes": (
        RestAnswer(rest.outputs(probabilities=[[0.2, 0.3, 0.5]] * 2)),
        r"probabilities is float32 of shape \(2, 3\); floating point of shape \(2, 2\) needed",
    ),
    "a key twice": (RestAnswer(b'{"outputs": 1, "outputs": 2}'), f"{NOT_JSON}a key is in one"),
    "100,000 brackets": (RestAnswer(b"[" * 100_000), f"{NOT_JSON}nested too deep"),
    "nested lists": (RestAnswer(b'{"outputs": ' + b"[" * 50 + b"]" * 50 + b"}"), "nested too deep"),
    "cut JSON": (RestAnswer(b'{"outputs": {"purified": [0.'), f"{NOT_JSON}damaged"),
    "nothing": (RestAnswer(b""), f"{NOT_JSON}damaged"),
    "not UTF-8": (RestAnswer(b'{"\xff\xfe": 1}'), f"{NOT_JSON}damaged"),
    "HTML": (
        RestAnswer(b"<p>Log in", headers={"Content-Type": "text/html; charset=x"}),
        "its answer is text/html; application/json is needed. Is there a proxy or a login page",
    ),
    "gzip bomb": (
        RestAnswer(rest.gzip_bomb(), headers={**rest.JSON_TYPE, "Content-Encoding": "gzip"}),
        r"its answer is compressed \(gzip\), which was not asked for",
    ),
    "10 TB declared": (
        RestAnswer(b"{}", headers={**rest.JSON_TYPE, "Content-Length": str(10**13)}),
        "its answer is larger than 1,058,816 bytes",
    ),
    "cut body": (
        RestAnswer(b"{}", headers={**rest.JSON_TYPE, "Content-Length": "99"}),
        "its answer ends after 2 of 99 bytes",
    ),
    "cut chunk": (RestAnswer(send=rest.send_cut_chunk), "its answer ends too early"),
    "endless": (
        RestAnswer(send=rest.send_without_end),
        "its answer is larger than 1,058,816 bytes",
    ),
    "endless headers": (RestAnswer(send=rest.send_many_headers), "its answer is not HTTP"),
    "one byte at a time": (RestAnswer(send=rest.send_slowly), TOO_LATE),
    "slow headers": (RestAnswer(send=rest.send_slow_headers), TOO_LATE),
    "endless 100 Continue": (RestAnswer(send=rest.send_continue_without_end), TOO_LATE),
    "silence": (RestAnswer(send=rest.send_nothing), TOO_LATE),
    "closed": (RestAnswer(send=rest.close), f"{NO_SERVER}Remote end closed connection"),
    "not HTTP": (
        RestAnswer(send=rest.send_raw(b"\0\0\x12\4\0")),
        "is not HTTP. The REST port of TF",
    ),
    "redirect": (
        RestAnswer(status=307, headers={"Location": "http://192.0.2.1/v1"}),
        "redirects to 'http://192.0.2.1/v1': not followed, because images are sent only to",
    ),
    "redirect to a file": (
        RestAnswer(status=302, headers={"Location": "file:///etc/passwd"}),
        "HTTP 302|redirects to 'file:///etc/passwd'",
    ),
    "HTTP 500": (RestAnswer({"error": "a\n\x1b[31mb"}, 500), r"model 'm': HTTP 500: a \\x1b\[31mb"),
    "HTTP 503": (RestAnswer({"error": "loading"}, 503), f"{NO_SERVER}HTTP 503: loading"),
    "cut error": (
        RestAnswer(b"x", 404, {"Transfer-Encoding": "chunked"}),
        "model 'm': HTTP 404: no reason given",
    ),
}

REST_METADATA = {
    "a list": (RestAnswer([]), r"not a TF Serving server: it answers \[\]"),
    "a number": (RestAnswer({"metadata": 1}), "not a TF Serving server: it answers"),
    "sides of text": (
        RestAnswer(rest.metadata(("x", 2, 1))),
        "not a TF Serving server: it answers",
    ),
    "sides of 2^40": (
        RestAnswer(rest.metadata((2**40, 2, 1))),
        "takes images of 1099511627776x2x1",
    ),
    "sides of -5": (RestAnswer(rest.metadata((-5, 2, 1))), "takes images of -5x2x1; 1 or 3"),
    "flat images": (RestAnswer(rest.flat_metadata()), "not a model of bin/export"),
    "7 channels": (RestAnswer(rest.metadata((2, 2, 7))), "takes images of 2x2x7; 1 or 3 channels"),
    "version": (
        RestAnswer(rest.metadata(model_spec={"version": "1\n2"})),
        "not a TF Serving server",
    ),
    "no version": (RestAnswer(rest.metadata(model_spec={})), "not a TF Serving server: it answers"),
    "32 MiB": (RestAnswer(b"x" * 2**25), "its answer is larger than 16,777,216 bytes"),
    "one byte at a time": (RestAnswer(send=rest.send_slowly), TOO_LATE),
    "gRPC port": (RestAnswer(send=rest.send_raw(b"\0\0\x12\4\0\0")), "its gRPC port, 8500, needs"),
}

FULL = np.full((2, 2, 2, 1), 0.5, np.float32)
GRPC_ANSWERS = {
    "damaged": (GrpcAnswer(b"\xff\xff\xff"), "not a TF Serving server: its answer cannot be read"),
    "cut": (GrpcAnswer(rpc.outputs()[:-7]), "not a TF Serving server: its answer cannot be read"),
    "nothing": (GrpcAnswer(b""), "its answer lacks purified, classes, .* it has no output"),
    "missing output": (GrpcAnswer(rpc.outputs(classes=None)), "its answer lacks classes; it has"),
    "missing image": (GrpcAnswer(rpc.outputs(purified=FULL[:1])), r"of shape \(1, 2, 2, 1\)"),
    "wrong shape": (GrpcAnswer(rpc.outputs(purified=FULL[..., 0])), r"of shape \(2, 2, 2\)"),
    "2^40 numbers": (GrpcAnswer(rpc.outputs(purified=rpc.declared(2**40))), "of shape .1099511627"),
    "-1 numbers": (
        GrpcAnswer(rpc.outputs(purified=rpc.declared(-1))),
        r"an output of shape \[-1\]",
    ),
    "10,000 outputs": (GrpcAnswer(rpc.many_outputs()), "cannot be read .an output of shape"),
    "text": (GrpcAnswer(rpc.outputs(purified=[b"x"] * 2)), "purified is object of shape"),
    "complex": (GrpcAnswer(rpc.outputs(purified=FULL + 0j)), "purified is complex64 of shape"),
    "unknown dtype": (
        GrpcAnswer(rpc.outputs(purified=rpc.declared(2, dtype=99))),
        "cannot be read",
    ),
    "resource": (GrpcAnswer(rpc.outputs(purified=rpc.declared(2, dtype=20))), "cannot be read"),
    "3 bytes": (
        GrpcAnswer(rpc.outputs(purified=rpc.declared(2, 2, 2, 1, tensor_content=b"abc"))),
        "its answer cannot be read",
    ),
    "NaN": (GrpcAnswer(rpc.with_pixel(np.nan)), "purified contains NaN or infinity"),
    "infinity": (GrpcAnswer(rpc.with_pixel(np.inf)), "purified contains NaN or infinity"),
    "0 to 255": (GrpcAnswer(rpc.with_pixel(255)), r"values from 0.5 to 255; \[0, 1\] is needed"),
    "class 2 of 2": (GrpcAnswer(rpc.outputs(classes=np.int64([1, 2]))), "names class 2; the"),
    "half a class": (GrpcAnswer(rpc.outputs(classes=[0.5, 1.0])), "classes is float32 .* integers"),
    "refused 1": (GrpcAnswer(rpc.outputs(refused=[0, 1])), "refused is int32 .*; bool of shape"),
    "three classes": (GrpcAnswer(rpc.outputs(logits=np.zeros((2, 3), "f"))), "logits is .*2, 3"),
    "negative norm": (GrpcAnswer(rpc.outputs(perturbation_norm=[1.0, -1.0])), "-1 to 1; 0 or more"),
    "32 MiB": (GrpcAnswer(b"\0" * 2**25), "RESOURCE_EXHAUSTED: .*larger than max"),
    "gzip bomb": (
        GrpcAnswer(b"\0" * 2**25, compression=grpc.Compression.Gzip),
        "RESOURCE_EXHAUSTED: .*larger than max",
    ),
    "too late": (GrpcAnswer(rpc.outputs(), seconds=3), TOO_LATE),
    "internal": (
        GrpcAnswer(status=Status.INTERNAL, details="a\n\x1b[1m"),
        r"INTERNAL: a \\x1b\[1m",
    ),
    "long text": (GrpcAnswer(status=Status.UNKNOWN, details="x" * 6000), "UNKNOWN: x{2000}$"),
    "refusal": (GrpcAnswer(status=Status.PERMISSION_DENIED), "PERMISSION_DENIED"),
    "not served": (GrpcAnswer(status=Status.NOT_FOUND, details="gone"), "'m': NOT_FOUND: gone"),
    "unavailable": (GrpcAnswer(status=Status.UNAVAILABLE, details="busy"), f"{NO_SERVER}busy"),
}

GRPC_METADATA = {
    "damaged": (GrpcAnswer(b"\xff\xff\xff"), "not a TF Serving server: its answer cannot be read"),
    "damaged inside": (GrpcAnswer(rpc.damaged_metadata()), "its answer cannot be read"),
    "nothing": (GrpcAnswer(b""), "its serving_default takes nothing and returns nothing"),
    "sides of 2^40": (GrpcAnswer(rpc.metadata((2**40, 2, 1))), "takes images of 1099511627776x2x1"),
    "sides of 0": (GrpcAnswer(rpc.metadata((0, 2, 1))), "takes images of 0x2x1; 1 or 3"),
    "flat images": (
        GrpcAnswer(rpc.metadata((2, 2, 1), images=(-1, 4))),
        "not a model of bin/export",
    ),
    "32 MiB": (GrpcAnswer(b"\0" * 2**25), "RESOURCE_EXHAUSTED: .*larger than max"),
    "another service": (GrpcAnswer(status=Status.UNIMPLEMENTED), "'m': UNIMPLEMENTED"),
    "too late": (GrpcAnswer(rpc.metadata(), seconds=3), TOO_LATE),
}

NOT_HTTP2 = {
    "one byte at a time": (rpc.send_slowly, f"{TOO_LATE}|no server answers"),
    "REST port": (rpc.send_http, f"{NO_SERVER}|{TOO_LATE}"),
    "goes away": (rpc.send_goaway, f"{NO_SERVER}|{TOO_LATE}"),
    "closed": (lambda _: None, f"{NO_SERVER}|{TOO_LATE}"),
}
