"""ONNX graphs: ONNX Runtime gives what our layers and models give; the importer is run on ONNX's own node tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnscratch as rs
from rnnscratch.interchange import from_onnx, to_onnx

onnx = pytest.importorskip("onnx", reason="onnx comes with the test extra")
KINDS = {
    "rnn": lambda *sizes, **more: rs.RNN(*sizes, **more),
    "relu": lambda *sizes, **more: rs.RNN(*sizes, activation="relu", **more),
    "lstm": lambda *sizes, **more: rs.LSTM(*sizes, **more),
    "gru": lambda *sizes, **more: rs.GRU(*sizes, **more),
    "gru after": lambda *sizes, **more: rs.GRU(*sizes, reset_after=True, **more),
    "peephole": lambda *sizes, **more: rs.PeepholeLSTM(*sizes, **more),
}
sizes = st.integers(1, 4)


def run(model, **inputs):
    """What ONNX Runtime makes of a graph, by the names of its outputs."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the test extra")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def random_weights(made, seed):
    rng = np.random.default_rng(seed)
    for array in made.params.values():
        array[...] = rng.standard_normal(array.shape) * 0.5
    return made


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    D=sizes,
    H=sizes,
    T=sizes,
    B=sizes,
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    ragged=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_layer_s_graph_gives_the_same_and_comes_back(kind, D, H, T, B, layers, bidirectional, ragged, seed):
    layer = random_weights(KINDS[kind](D, H, layers, bidirectional, seed=0), seed)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((T, B, D)).astype("f4")
    lengths = rng.integers(1, T + 1, B).astype(np.int32) if ragged else np.full(B, T, np.int32)
    model = to_onnx(layer)
    found = run(model, x=x, lengths=lengths)
    hs, state = layer.forward(x, lengths=lengths)
    np.testing.assert_allclose(found["hs"], hs, rtol=1e-5, atol=1e-5)
    for letter, part in zip(layer.states, state if isinstance(state, tuple) else (state,)):
        np.testing.assert_allclose(found[letter], part, rtol=1e-5, atol=1e-5)
    again = from_onnx(model)
    assert type(again) is type(layer) and again.config() == layer.config()
    for name, array in layer.params.items():
        np.testing.assert_array_equal(again.params[name], array)


CLASSIFIERS = [
    {"pooling": "last", "cell": "lstm", "bidirectional": True},
    {"pooling": "mean+max", "cell": "gru", "num_layers": 2},
    {"pooling": "max", "cell": "rnn", "bidirectional": True, "num_classes": 3},
    {"pooling": "mean", "cell": "gru", "reset_after": True},
    {"pooling": "last", "cell": "peephole", "num_layers": 2, "num_classes": 4},
]


@pytest.mark.parametrize("options", CLASSIFIERS, ids=lambda options: f"{options['cell']}-{options['pooling']}")
def test_a_classifier_s_graph_gives_its_logits_for_ragged_texts(options, rng, tmp_path):
    model = random_weights(rs.SequenceClassifier(11, 3, 4, **{"num_classes": 2, **options}, seed=0), 1)
    path = tmp_path / "it.onnx"
    graph = to_onnx(model, path)
    for T, B in ((5, 4), (1, 1), (9, 2)):
        ids, lengths = rng.integers(0, 11, (T, B)), rng.integers(1, T + 1, B).astype(np.int32)
        lengths[0] = T
        found = run(graph, ids=ids, lengths=lengths)["logits"]
        np.testing.assert_allclose(found, model.forward(ids, lengths=lengths), rtol=1e-5, atol=1e-5)
    again = from_onnx(path)
    assert type(again) is type(model) and again.config() == model.config()
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)


@pytest.mark.parametrize("options", [{"cell": "lstm", "num_layers": 2}, {"cell": "gru", "tied": True}])
def test_a_language_model_s_graph_carries_its_state(options, rng):
    model = random_weights(rs.LanguageModel(11, 4, 4, **options, seed=0), 2)
    graph = to_onnx(model)
    ids = rng.integers(0, 11, (7, 3))
    logits, _ = model.forward(ids)
    letters = model.recurrent.states
    state = {letter: np.zeros((model.recurrent.num_layers, 3, 4), "f4") for letter in letters}
    parts = []
    for first, last in ((0, 3), (3, 7)):
        inputs = {f"{letter} before": array for letter, array in state.items()}
        found = run(graph, ids=ids[first:last], lengths=np.full(3, last - first, np.int32), **inputs)
        parts.append(found["logits"])
        state = {letter: found[letter] for letter in letters}
    np.testing.assert_allclose(np.concatenate(parts), logits, rtol=1e-5, atol=1e-5)
    again = from_onnx(graph)
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)


def test_flat_layers(rng):
    table, dense = rs.Embedding(7, 3, seed=0), random_weights(rs.Dense(3, 5, seed=0), 3)
    ids, x = rng.integers(0, 7, (4, 2)), rng.standard_normal((4, 3)).astype("f4")
    np.testing.assert_array_equal(run(to_onnx(table), ids=ids)["y"], table.forward(ids))
    np.testing.assert_allclose(run(to_onnx(dense), x=x)["y"], dense.forward(x), rtol=1e-5, atol=1e-6)
    for layer in (table, dense):
        for name, array in layer.params.items():
            np.testing.assert_array_equal(from_onnx(to_onnx(layer)).params[name], array)


def node_tests():
    """ONNX's own tests of the three operators: (name, model, inputs, outputs)."""
    from onnx.backend.test.case.node import collect_testcases

    found = []
    for operator in ("RNN", "LSTM", "GRU"):
        for case in collect_testcases(operator):
            inputs, outputs = case.data_sets[0]
            found.append((case.name, case.model, inputs, outputs))
    return found


def as_array(value):
    return value if isinstance(value, np.ndarray) else onnx.numpy_helper.to_array(value)


@pytest.fixture(scope="module")
def own_tests():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ONNX's reference code
        return node_tests()


def test_onnx_s_own_node_tests(own_tests):
    passed, refused = [], []
    for name, model, inputs, outputs in own_tests:
        node = model.graph.node[0]
        given = dict(zip([each.name for each in model.graph.input], map(as_array, inputs)))
        wanted = dict(zip([each.name for each in model.graph.output], map(as_array, outputs)))
        weights = {key: value for key, value in given.items() if key in node.input[1:4] or key == "P"}
        try:
            layer = from_onnx(model, weights)
        except ValueError as error:
            assert "direction is 'reverse'" in str(error), (name, error)
            refused.append(name)
            continue
        batch_first = any(each.name == "layout" and each.i for each in node.attribute)
        x = given[node.input[0]]
        names = dict(zip(("seq_lens", "initial_h", "initial_c"), node.input[4:7]))
        lengths = given.get(names.get("seq_lens", ""))
        start = [given.get(names.get(key, "")) for key in ("initial_h", "initial_c")][: len(layer.states)]
        if batch_first:
            x, start = x.swapaxes(0, 1), [None if each is None else each.swapaxes(0, 1) for each in start]
        state = start[0] if len(start) == 1 else None if start == [None, None] else tuple(start)
        hs, final = layer.forward(np.ascontiguousarray(x), state, lengths)
        T, B, width = hs.shape
        ours = {"Y": hs.reshape(T, B, len(layer.directions), -1).transpose(0, 2, 1, 3)}
        ours |= dict(zip(("Y_h", "Y_c"), final if isinstance(final, tuple) else (final,)))
        if batch_first:
            ours = {"Y": ours["Y"].transpose(2, 0, 1, 3), "Y_h": ours["Y_h"].swapaxes(0, 1)}
        for output, key in zip(node.output, ("Y", "Y_h", "Y_c")):
            if output:
                np.testing.assert_allclose(ours[key], wanted[output], rtol=1e-5, atol=1e-6, err_msg=name)
        passed.append(name)
    assert len(passed) >= 11, (passed, refused)
    assert set(refused) <= {name for name, *_ in own_tests if "reverse" in name}


def node_graph(operator, H=2, D=3, extra=None, **attributes):
    """A graph of one node with random weights."""
    G = {"RNN": 1, "LSTM": 4, "GRU": 3}[operator]
    rng = np.random.default_rng(0)
    arrays = {"W": rng.standard_normal((1, G * H, D)), "R": rng.standard_normal((1, G * H, H))} | (extra or {})
    helper = onnx.helper
    node = helper.make_node(operator, ["x", "W", "R"], ["y"], hidden_size=H, **attributes)
    weights = [onnx.numpy_helper.from_array(array.astype("f4"), name) for name, array in arrays.items()]
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    return helper.make_model(helper.make_graph([node], "g", info[:1], info[1:], weights))


REFUSED = {
    "a clip": (lambda: node_graph("LSTM", clip=3.0), "clip is 3.0 in LSTM"),
    "input_forget": (lambda: node_graph("LSTM", input_forget=1), "input_forget is 1 in LSTM"),
    "reverse": (lambda: node_graph("GRU", direction="reverse"), "direction is 'reverse' in GRU"),
    "activations": (
        lambda: node_graph("GRU", activations=["HardSigmoid", "Tanh"]),
        "activations are hardsigmoid, tanh in GRU",
    ),
    "an activation": (lambda: node_graph("RNN", activations=["Elu"]), "activations is 'elu'"),
    "a wrong size": (lambda: node_graph("RNN", extra={"R": np.ones((1, 3, 2))}), r"R of RNN has shape \(1, 3, 2\)"),
    "no weights": (
        lambda: node_graph("RNN", extra={"W": np.ones(3)}),
        "the weight 'W' of RNN, with three axes, is not in the graph",
    ),
    "no node": (lambda: to_onnx_of_add(), "the graph has no RNN, LSTM or GRU node, but Add"),
}


def to_onnx_of_add():
    helper = onnx.helper
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    return helper.make_model(helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", info[:1], info[1:]))


@pytest.mark.parametrize("case", REFUSED)
def test_nodes_without_an_equal_are_refused(case):
    made, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        from_onnx(made())


def test_what_is_no_graph_is_named(tmp_path):
    path = tmp_path / "it.onnx"
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(ValueError, match=r"it\.onnx"):
        from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="model is int"):
        from_onnx(3)
    with pytest.raises(ValueError, match="ONNX's LSTM has no layer normalisation"):
        to_onnx(rs.LayerNormLSTM(2, 2, seed=0))
    with pytest.raises(TypeError, match="Seq2Seq cannot be an ONNX graph"):
        to_onnx(rs.Seq2Seq(5, 5, 2, 2, seed=0))


def test_separate_layers_of_a_graph_stay_separate():
    first, second = random_weights(rs.LSTM(3, 4, seed=0), 1), random_weights(rs.GRU(4, 4, seed=0), 2)
    graphs = [to_onnx(layer) for layer in (first, second)]
    merged = onnx.compose.merge_models(
        onnx.compose.add_prefix(graphs[0], "a/"), onnx.compose.add_prefix(graphs[1], "b/"), io_map=[("a/hs", "b/x")]
    )
    found = from_onnx(merged)
    assert [type(layer) for layer in found] == [rs.LSTM, rs.GRU]
    for layer, right in zip(found, (first, second)):
        for name, array in right.params.items():
            np.testing.assert_array_equal(layer.params[name], array)
