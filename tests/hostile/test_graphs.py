"""Graphs that act are refused before any part of them runs."""

import keras
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.hostile.saved_models import (
    SHAPE,
    Classifier,
    edit_saved_model,
    graph_of,
    save_keras_file,
    save_with_initializer,
)
from tfdefense.classifiers.custom.graph_rules import needed_graph, require_allowed_graph
from tfdefense.classifiers.custom.output_selection import OutputSelection
from tfdefense.classifiers.custom.saved_model_layer import FrozenGraph, freeze_saved_model
from tfdefense.classifiers.custom.saved_model_rules import (
    require_safe_loading,
    require_safe_signatures,
)
from tfdefense.errors import UserError
from tfdefense.training.run_directory import RunDirectory

raw = tf.raw_ops


def _queue():
    return raw.QueueDequeueV2(
        handle=raw.FIFOQueueV2(component_types=[tf.float32]), component_types=[tf.float32]
    )[0]


ACTS = {
    "WriteFile": lambda: raw.WriteFile(filename="touched", contents="x"),
    "ReadFile": lambda: raw.ReadFile(filename="/etc/hostname"),
    "PrintV2": lambda: raw.PrintV2(input="x", output_stream="file://touched"),
    "SaveV2": lambda: raw.SaveV2(
        prefix="touched", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1)]
    ),
    "MergeV2Checkpoints": lambda: raw.MergeV2Checkpoints(
        checkpoint_prefixes=["a"], destination_prefix="touched"
    ),
    "GenerateVocabRemapping": lambda: (
        raw.GenerateVocabRemapping(
            new_vocab_file="/etc/hostname",
            old_vocab_file="/etc/hostname",
            new_vocab_offset=0,
            num_new_vocab=1,
        ).remapping
    ),
    "DecodeProtoV2": lambda: (
        raw.DecodeProtoV2(
            bytes=[""],
            message_type="m",
            field_names=["a"],
            output_types=[tf.int32],
            descriptor_source="/etc/hostname",
        ).sizes
    ),
    "EncodeProto": lambda: raw.EncodeProto(
        sizes=[[0]],
        values=[tf.constant([[0]])],
        field_names=["a"],
        message_type="m",
        descriptor_source="/etc/hostname",
    ),
    "Abort": lambda: raw.Abort(error_msg="x", exit_without_error=True),
    "QueueDequeueV2": _queue,
    "Unstage": lambda: raw.Unstage(dtypes=[tf.float32])[0],
    "CollectiveReduce": lambda: raw.CollectiveReduce(
        input=tf.constant(1.0),
        group_size=2,
        group_key=1,
        instance_key=1,
        merge_op="Add",
        final_op="Id",
        subdiv_offsets=[0],
    ),
    "EagerPyFunc": lambda: tf.py_function(lambda: open("touched", "w").close(), [], []),
}


@pytest.mark.parametrize("operation", ACTS)
def test_a_graph_layer_with_another_operation_is_refused(operation):
    graph, feed, fetch = graph_of(ACTS[operation])
    layer = FrozenGraph(feed, fetch, 10, graph, name="graph")
    with pytest.raises(UserError, match=rf"'graph': contains .*{operation}.*--unsafe_load"):
        layer(tf.zeros([1, *SHAPE]))


@pytest.mark.parametrize("operation", ["XlaCustomCallV2", "Skipgram", "AnOperationOfLaterVersions"])
def test_operations_that_are_not_listed_are_refused(operation):
    definition = tf.compat.v1.GraphDef()
    definition.node.add(name="out", op=operation)
    with pytest.raises(UserError, match=rf"--classifier=x: contains {operation}\."):
        require_allowed_graph(needed_graph(definition, "out:0"), "--classifier=x")


def test_a_compiled_program_is_refused_with_the_way_out():
    definition = tf.compat.v1.GraphDef()
    definition.node.add(name="out", op="XlaCallModule")
    with pytest.raises(UserError, match=r"contains XlaCallModule\..*from-pytorch\.md"):
        require_allowed_graph(needed_graph(definition, "out:0"), "--classifier=x")


def test_operations_that_the_output_does_not_need_are_no_reason():
    graph, feed, fetch = graph_of(tf.no_op)
    definition = tf.compat.v1.GraphDef.FromString(graph)
    definition.node.add(name="unused", op="WriteFile", input=["missing", "missing"])
    layer = FrozenGraph(feed, fetch, 10, definition.SerializeToString())
    assert layer(tf.ones([2, *SHAPE])).shape == (2, 10)


@pytest.mark.parametrize("calls", [["f"], ["g"], ["g", "g", "g"]])
def test_functions_that_call_themselves_or_unfold_are_refused(calls):
    definition = tf.compat.v1.GraphDef()
    definition.node.add(name="out", op="f" if calls != ["g"] * 3 else "f0")
    if len(calls) == 3:  # Each function calls the next ten times.
        for level in range(12):
            function = definition.library.function.add()
            function.signature.name = f"f{level}"
            for call in range(10):
                function.node_def.add(name=f"n{call}", op=f"f{level + 1}" if level < 11 else "NoOp")
    for name, called in (("f", calls[0]), ("g", "f")):
        function = definition.library.function.add()
        function.signature.name = name
        node = function.node_def.add(name="n", op="PartitionedCall")
        node.attr["f"].func.name = called
    with pytest.raises(UserError, match=r"calls itself|call each other"):
        require_allowed_graph(needed_graph(definition, "out:0"), "--classifier=x")


@pytest.mark.slow
def test_a_graph_in_a_run_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_keras_file(tmp_path / "classifier.keras", ACTS["WriteFile"])
    with pytest.raises(
        UserError, match=r"classifier.keras: cannot be loaded: .*contains WriteFile"
    ):
        RunDirectory(tmp_path).load_classifier()
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("operation", ["WriteFile", "SaveV2", "MergeV2Checkpoints", "Abort"])
def test_an_initializer_that_acts_is_refused(operation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_with_initializer(tmp_path / "model", ACTS[operation])
    with pytest.raises(UserError, match=rf"model: contains {operation}\. .*--unsafe_load"):
        freeze_saved_model(tmp_path / "model")
    assert not list(tmp_path.glob("touched*"))


def _add_reading_function(definition):
    """Add a function that no node calls, whose shapes TensorFlow would compute by reading a file."""
    function = definition.library.function.add()
    function.signature.name = "unused"
    function.node_def.add(name="path", op="Const")
    function.node_def.add(name="content", op="ReadFile", input=["path:output:0"])
    return function


def test_a_function_that_nothing_calls_is_judged_before_loading(tmp_path):
    module = Classifier()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    require_safe_signatures(tmp_path / "model", "--model=x")
    edit_saved_model(tmp_path / "model", lambda meta: _add_reading_function(meta.graph_def))
    require_safe_loading(tmp_path / "model", "--model=x")
    with pytest.raises(UserError, match=r"--model=x: contains ReadFile\."):
        require_safe_signatures(tmp_path / "model", "--model=x")


def test_a_node_that_nothing_needs_is_judged_before_loading(tmp_path):
    module = Classifier()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    edit_saved_model(
        tmp_path / "model", lambda meta: meta.graph_def.node.add(name="unused", op="MatchingFiles")
    )
    with pytest.raises(UserError, match=r"--model=x: contains MatchingFiles\."):
        require_safe_signatures(tmp_path / "model", "--model=x")


def test_functions_that_nothing_calls_are_not_imported():
    graph, _, fetch = graph_of(tf.no_op)
    definition = tf.compat.v1.GraphDef.FromString(graph)
    _add_reading_function(definition)
    assert not needed_graph(definition, fetch).library.function
    definition.node[-1].attr["f"].func.name = "unused"
    assert len(needed_graph(definition, fetch).library.function) == 1


def test_several_graphs_with_objects_are_refused(tmp_path):
    """TensorFlow would run the initializers of such a file, and not those of its objects."""
    module = Classifier()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    file = tmp_path / "model" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(UserError, match="holds 2 graphs, one of them with objects"):
        require_safe_loading(tmp_path / "model", "--model=x")


def test_a_restore_function_that_acts_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = Classifier()
    module.act = tf.function(lambda: [ACTS["WriteFile"](), tf.constant(1)][1], input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    (tmp_path / "touched").unlink(missing_ok=True)

    def restore_by_acting(meta_graph):
        nodes = meta_graph.object_graph_def.nodes
        children = {child.local_name: child.node_id for child in nodes[0].children}
        saveable = nodes[children["weights"]].saveable_objects["VARIABLE_VALUE"]
        saveable.save_function = saveable.restore_function = children["act"]

    def replace_a_method(meta_graph):
        for child in meta_graph.object_graph_def.nodes[0].children:
            if child.local_name == "act":
                child.local_name = "_maybe_initialize_trackable"

    require_safe_loading(tmp_path / "model", "--classifier=model")
    original = (tmp_path / "model" / "saved_model.pb").read_bytes()
    for edit in (restore_by_acting, replace_a_method):
        (tmp_path / "model" / "saved_model.pb").write_bytes(original)
        edit_saved_model(tmp_path / "model", edit)
        with pytest.raises(UserError, match="contains WriteFile"):
            freeze_saved_model(tmp_path / "model")


def test_a_second_model_in_the_directory_is_refused(tmp_path):
    tf.saved_model.save(Classifier(), str(tmp_path / "model"))
    (tmp_path / "model" / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(UserError, match=r"saved_model\.cpb"):
        freeze_saved_model(tmp_path / "model")


def test_initializers_of_tensorflow_1_are_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, *SHAPE])
        logits = tf.reshape(images, [-1, 784])[:, :10]
        touch = raw.WriteFile(filename="touched", contents="x")
        v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, touch)
        signature = v1.saved_model.predict_signature_def({"images": images}, {"logits": logits})
        builder = v1.saved_model.Builder("model")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    with pytest.raises(UserError, match="contains WriteFile"):
        freeze_saved_model(tmp_path / "model")
    assert not (tmp_path / "touched").exists()


def test_a_changed_graph_in_a_keras_file_is_damage(tmp_path):
    save_keras_file(tmp_path / "classifier.keras", tf.no_op)
    model = keras.models.load_model(tmp_path / "classifier.keras", compile=False)
    assert model(tf.zeros([1, *SHAPE])).shape == (1, 10)
    layer = model.layers[-1]
    layer.graph += layer.graph
    model.save(tmp_path / "changed.keras")
    (tmp_path / "classifier.keras").write_bytes((tmp_path / "changed.keras").read_bytes())
    with pytest.raises(UserError, match="is damaged"):
        RunDirectory(tmp_path).load_classifier()


class Reading(tf.Module):
    """A classifier whose logits depend on a file, and which counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def read(self, images):
        size = tf.strings.length(tf.io.read_file("/etc/hostname"))
        return tf.reshape(images, [-1, 784])[:, :10] + tf.cast(size, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def count(self, images):
        self.calls.assign_add(1.0)
        return tf.reshape(images, [-1, 784])[:, :10]


def test_what_remains_of_a_saved_model_is_judged_before_tensorflow_reads_it(tmp_path, monkeypatch):
    module = Reading()
    signatures = {"read": module.read, "count": module.count}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures)
    network, _ = freeze_saved_model(tmp_path / "model", OutputSelection("count"))
    assert network.layer(tf.ones([2, *SHAPE])).shape == (2, 10), "counters are no reason"
    with pytest.raises(UserError, match=r"contains ReadFile.*--unsafe_load"):
        freeze_saved_model(tmp_path / "model", OutputSelection("read"))
    monkeypatch.setattr(
        "tfdefense.classifiers.custom.saved_model_layer.require_safe_signature", lambda *_: None
    )
    monkeypatch.setattr(tf.compat.v1, "import_graph_def", None)
    with pytest.raises(UserError, match=r"contains ReadFile.*--unsafe_load"):
        freeze_saved_model(tmp_path / "model", OutputSelection("read"))


def test_a_damaged_signature_is_one_line(tmp_path):
    module = Classifier()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)

    def damage(meta_graph):
        for tensor in meta_graph.signature_def["serving_default"].inputs.values():
            tensor.dtype = 99

    edit_saved_model(tmp_path / "model", damage)
    with pytest.raises(UserError, match="its signatures cannot be read"):
        freeze_saved_model(tmp_path / "model")
