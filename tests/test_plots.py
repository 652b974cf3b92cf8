"""The pictures hold the numbers they are given, with labels and units, without a display."""

from __future__ import annotations

import numpy as np
import pytest

from rnnscratch import plots

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib; it comes with the test extra")


def test_training_curves_draw_the_mean_and_the_band_of_seeds():
    ax = plots.training_curves({"LSTM": [[3.0, 2.0, 1.0], [5.0, 4.0, 1.0]], "GRU": [[1.0, 1.0]]}, "loss")
    assert [line.get_label() for line in ax.lines] == ["LSTM", "GRU"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [4.0, 3.0, 1.0])
    assert len(ax.collections) == 1 and (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_a_confusion_matrix_shows_its_counts():
    ax = plots.confusion(np.array([[90, 10], [2000, 0]]), ("negative", "positive"), "LSTM")
    assert [text.get_text() for text in ax.texts] == ["90\n90.0%", "10\n10.0%", "2,000\n100.0%", "0\n0.0%"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("predicted", "true", "LSTM")


def test_gradients_are_drawn_relative_to_lag_0_on_a_logarithmic_scale():
    ax = plots.gradient_by_lag({"vanilla RNN": np.array([4.0, 2.0, 0.0])})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.0, 0.5, 1e-30])
    assert ax.get_yscale() == "log" and "relative to lag 0" in ax.get_ylabel()


def test_gradients_before_training_are_dashed_in_the_colour_of_their_model():
    before = {"LSTM": np.array([2.0, 2.0]), "GRU": np.array([1.0, 0.5])}
    ax = plots.gradient_by_lag({"LSTM": np.array([4.0, 1.0])}, before=before)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1.0, 0.25], [1.0, 1.0], [1.0, 0.5]]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "--"]
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["LSTM", "GRU"]


def test_a_validation_curve_has_a_line_through_the_mean_and_a_band_over_the_runs():
    ax = plots.validation_curve([1, 10], {"LSTM": [[0.5, 0.7], [0.7, 0.9]], "GRU": [[0.2, 0.4]]}, "learning rate")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 0.6], [10, 0.8]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[1, 0.2], [10, 0.4]])
    assert len(ax.collections) == 1 and ax.get_xscale() == "log" and ax.get_xlabel() == "learning rate"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "10"]
    with pytest.raises(ValueError, match=r"scores\['GRU'\] has shape \(1, 3\), expected \(..., 2\)"):
        plots.validation_curve([1, 10], {"GRU": [[1, 2, 3]]}, "learning rate")


def test_calibration_lies_beside_the_diagonal():
    ax = plots.calibration({"GRU": ([0.1, 0.9], [0.2, 0.7])})
    assert ax.lines[0].get_linestyle() == "--"
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[0.1, 0.2], [0.9, 0.7]])
    assert "probability" in ax.get_xlabel()
    with pytest.raises(ValueError, match=r"curves\['GRU'\] holds 2 probabilities and 1 shares"):
        plots.calibration({"GRU": ([0.1, 0.9], [0.2])})


def test_learning_curves_have_a_line_for_each_run_as_long_as_it_was():
    runs = {"LSTM": [[(0, 0.5), (100, 0.1)], [(0, 0.6), (100, 0.4), (200, 0.0)]], "GRU": [[(0, 0.5), (50, 0.0)]]}
    ax = plots.learning_curves(runs, "error", chance=0.5)
    assert [line.get_xydata().tolist() for line in ax.lines[:3]] == [
        [list(point) for point in run] for each in runs.values() for run in each
    ]
    assert ax.lines[3].get_ydata()[0] == 0.5 and ax.lines[0].get_color() == ax.lines[1].get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["LSTM", "GRU"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("updates", "error")
    with pytest.raises(ValueError, match=r"runs\['LSTM'\] is empty"):
        plots.learning_curves({"LSTM": []})
    with pytest.raises(ValueError, match=r"runs\['LSTM'\]\[0\] has shape \(2,\)"):
        plots.learning_curves({"LSTM": [[1, 2]]})


def test_shares_by_length_lie_at_their_lengths():
    ax = plots.share_by_length([10, 100], {"RNN": [1.0, 0.0], "LSTM": [1.0, 1.0]})
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[10, 1], [100, 0]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[10, 1], [100, 1]], atol=0.01)
    assert ax.get_xscale() == "log" and "steps" in ax.get_xlabel()
    with pytest.raises(ValueError, match=r"shares\['RNN'\] has shape \(3,\), expected \(2\)"):
        plots.share_by_length([10, 100], {"RNN": [1, 2, 3]})


def test_many_names_stand_beside_the_picture():
    few, many = ({f"m{k}": np.ones(3) for k in range(count)} for count in (4, 5))
    anchors = [plots.gradient_by_lag(each).get_legend().get_bbox_to_anchor() for each in (few, many)]
    assert anchors[1].x0 > anchors[0].x0


def test_groups_and_costs():
    ax = plots.accuracy_by_group({"GRU": [0.5, 1.0]}, ["1–9", "10–99"])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [50.0, 100.0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1–9", "10–99"]
    rows = [
        {"model": "GRU", "accuracy": 0.8, "train_seconds": 10.0},
        {"model": "LSTM", "accuracy": 0.9, "train_seconds": 20.0},
    ]
    ax = plots.accuracy_against_time(rows)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[10.0, 80.0]], [[20.0, 90.0]]]


def test_a_given_axes_is_used_and_a_model_looks_the_same_in_every_picture():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plots.training_curves({"LSTM": [[1.0, 2.0]]}, ax=ax) is ax
    other = plots.gradient_by_lag({"GRU": np.ones(3), "LSTM": np.ones(3)})
    assert ax.lines[0].get_color() == other.lines[1].get_color() != other.lines[0].get_color()


def test_no_two_lines_look_alike():
    """A model with a place of its own, and others that come before it."""
    names = ["RNN, U scaled", "another", "LSTM", "GRU", "LSTM, forget bias 4", "HMM", "vanilla RNN"]
    ax = plots.gradient_by_lag(dict.fromkeys(names, np.ones(3)))
    looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
    assert len(looks) == len(names)
    assert ax.lines[2].get_color() == plots.COLOURS[1]


def test_to_png_gives_a_picture():
    assert plots.to_png(plots.training_curves({"LSTM": [[1.0, 2.0]]})).startswith(b"\x89PNG\r\n")


def test_state_runs_are_the_stretches_of_equal_states():
    assert plots.state_runs([2, 2, 0, 1, 1, 1]) == [(0, 2, 2), (2, 1, 0), (3, 3, 1)]
    assert plots.state_runs(np.array([1])) == [(0, 1, 1)]


def test_state_strips_show_every_stretch_in_its_place_and_colour():
    ax = plots.state_strips({"true": [0, 0, 1], "Viterbi": [1, 1, 1]}, ["fair", "loaded"])
    bars = [collection for collection in ax.collections if len(collection.get_paths())]
    boxes = [(bar.get_paths()[0].get_extents().bounds, bar.get_facecolor()[0].tolist()) for bar in bars]
    blue, red = (list(matplotlib.colors.to_rgba(colour)) for colour in plots.COLOURS[:2])
    expected = [((0, -0.4, 2, 0.8), blue), ((2, -0.4, 1, 0.8), red), ((0, 0.6, 3, 0.8), red)]
    for (bounds, colour), (place, wanted) in zip(boxes, expected, strict=True):
        np.testing.assert_allclose(bounds, place)
        np.testing.assert_allclose(colour, wanted)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["fair", "loaded"]
    assert ax.get_xlabel() == "time (frames)"


def test_state_posteriors_are_lines_of_probabilities():
    posterior = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    ax = plots.state_posteriors(posterior)
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], posterior.T)
    assert ax.get_ylabel() == "probability"


def test_em_gaps_are_what_is_missing_to_the_best():
    gaps = plots.em_gaps([[-10.0, -5.0, -4.0], [-8.0, -6.0]])
    np.testing.assert_allclose(gaps[0], [6, 1, 0])
    np.testing.assert_allclose(gaps[1], [4, 2])
    ax = plots.em_objective([[-10.0, -5.0, -4.0], [-8.0, -6.0]])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [6, 1, 0])
    assert ax.lines[0].get_linewidth() > ax.lines[1].get_linewidth()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best start"]


@pytest.mark.parametrize("last, linear_below", [(-4.02, 0.01), (-4.0 - 1e-13, 1.0), (-4.0, 1.0)])
def test_the_scale_of_em_steps_reaches_0_and_rounding_does_not_stretch_it(last, linear_below):
    ax = plots.em_objective([[-10.0, -5.0, -4.0], [-8.0, -6.0, last]])
    assert ax.get_ylim()[0] == 0.0
    np.testing.assert_allclose(ax.yaxis.get_transform().linthresh, linear_below)


def test_every_picture_can_be_written_and_drawn_into_given_axes():
    from matplotlib.figure import Figure

    axes = Figure(figsize=(12, 3)).subplots(1, 4)
    drawn = (
        plots.state_strips({"true": [0, 1, 1]}, ax=axes[0]),
        plots.state_posteriors(np.array([[0.5, 0.5]]), ax=axes[1]),
        plots.em_objective([[-1.0]], ax=axes[2]),
        plots.transitions(np.eye(2), ax=axes[3]),
    )
    assert all(a is b for a, b in zip(drawn, axes, strict=True))
    assert plots.to_png(axes[0]).startswith(b"\x89PNG\r\n")


def test_transitions_are_written_into_their_squares():
    ax = plots.transitions(np.array([[0.9, 0.1], [0.25, 0.75]]), ["a", "b"])
    assert [text.get_text() for text in ax.texts] == ["0.900", "0.100", "0.250", "0.750"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_contributions_are_coloured_by_their_norm():
    values = np.zeros((2, 2, 1, 2))
    values[0, 0], values[1, 0], values[1, 1] = [3.0, 4.0], [0.3, 0.4], [30.0, 40.0]
    np.testing.assert_allclose(plots.contribution_norms(values), [[5.0, 0.0], [0.5, 50.0]])
    ax = plots.contributions(values)
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.compressed(), np.log10([5.0, 0.5, 50.0]))
    assert shown.mask.tolist() == [[False, True], [False, False]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("through step k", "from loss $L_t$, t")


def test_the_spectrum_runs_from_lag_0_back_to_the_first_step():
    values = np.zeros((3, 3, 3))
    values[2] = [[0.5, 0.1, 0.0], [0.8, 0.4, 0.2], [1.0, 1.0, 1.0]]
    np.testing.assert_array_equal(plots.spectrum_by_lag(values), values[2, ::-1])
    ax = plots.jacobian_spectrum(values)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["largest"], [1.0, 0.8, 0.5])
    np.testing.assert_allclose(lines["smallest"], [1.0, 0.2, 1e-16])
    assert ax.get_yscale() == "log"


def test_gates_stand_under_their_words():
    values = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    ax = plots.gates_over_words(values, ["not", "so", "good"], "forget gate f")
    np.testing.assert_array_equal(ax.images[0].get_array(), values.T)
    assert ax.images[0].get_clim() == (0.0, 1.0)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["not", "so", "good"]
    assert plots.gates_over_words(-values, ["a", "b", "c"]).images[0].get_clim() == (-1.0, 1.0)
    with pytest.raises(ValueError, match="values has 3 rows, expected one for each of the 2 words"):
        plots.gates_over_words(values, ["a", "b"])


def test_coloured_text_mixes_from_white_and_escapes():
    html = plots.coloured_text(["<b>", "so", "bad"], [2.0, 0.0, -1.0])
    assert (
        '<span style="background: rgb(230, 159, 0); color: black; padding: 1px 2px" title="+2.000">&lt;b&gt;<' in html
    )
    assert 'rgb(255, 255, 255); color: black; padding: 1px 2px" title="+0.000">so<' in html
    assert 'rgb(170, 218, 244); color: black; padding: 1px 2px" title="-1.000">bad<' in html
    assert "rgb(255, 255, 255)" in plots.coloured_text(["a"], [0.0])
    assert "rgb(86, 180, 233)" in plots.coloured_text(["a"], [-9.0], limit=1.0)
    with pytest.raises(ValueError, match=r"values has shape \(2,\), expected \(1,\)"):
        plots.coloured_text(["a"], [0.0, 1.0])


def test_word_effects_are_bars_side_by_side():
    ax = plots.word_effects(["not", "good"], {"gradient × input": [-1.0, 0.5], "occlusion": [-0.8, 0.4]})
    bars = [bar for group in ax.containers for bar in group]
    np.testing.assert_allclose([bar.get_height() for bar in bars], [-1.0, 0.5, -0.8, 0.4])
    np.testing.assert_allclose([bar.get_x() for bar in bars], [-0.4, 0.6, 0.0, 1.0], atol=1e-12)


def test_step_sizes_are_drawn_on_logarithmic_scales():
    ax = plots.step_sizes([1.0, 0.1], {"central, float64": [1e-2, 1e-4], "complex step": [1e-3, 0.0]})
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], [[1e-2, 1e-4], [1e-3, 1e-17]])
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_activations_and_their_derivatives():
    """The report's codomains put right: the sigmoid's slope is at most 1/4, that of tanh at most 1."""
    y, slope = plots.activation_values("sigmoid", np.array([0.0, np.log(3.0)]))
    np.testing.assert_allclose([y, slope], [[0.5, 0.75], [0.25, 0.1875]])
    y, slope = plots.activation_values("tanh", np.array([0.0, 0.5]))
    np.testing.assert_allclose([y, slope], [[0.0, np.tanh(0.5)], [1.0, 1 - np.tanh(0.5) ** 2]])
    labels = [line.get_label() for line in plots.activation("sigmoid").lines]
    assert labels[:2] == ["sigmoid", "its derivative, at most 0.25"]
    with pytest.raises(ValueError, match="name is 'gelu', expected one of 'tanh', 'relu', 'sigmoid'"):
        plots.activation("gelu")


def test_attention_has_a_row_for_each_word_put_out():
    weights = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    ax = plots.attention(weights, ["le", "chat", "noir"], ["black", "cat"])
    np.testing.assert_array_equal(ax.images[0].get_array(), weights)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["black", "cat"]
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {90}
    by_letter = plots.attention(weights, list("mot"), ["a", "word"])
    assert {label.get_rotation() for label in by_letter.get_xticklabels()} == {0}
    with pytest.raises(ValueError, match=r"weights has shape \(2, 3\), expected \(3, 2\)"):
        plots.attention(weights, ["le", "chat"], ["a", "b", "c"])


def test_neighbours_are_drawn_with_their_words():
    vectors = np.array([[1.0, 0.0], [5.0, 0.5], [0.0, 2.0], [0.1, 1.0], [-1.0, 0.0]])
    ax = plots.neighbours(vectors, list("abcde"), ["a", "c"], count=1)
    assert sorted(text.get_text() for text in ax.texts) == ["a", "b", "c", "d"]
    assert [line.get_label() for line in ax.lines] == ["near 'a'", "near 'c'"]
    assert "of the variance)" in ax.get_xlabel()
    with pytest.raises(ValueError, match="chosen holds 'z', which is not among the 5 words"):
        plots.neighbours(vectors, list("abcde"), ["z"])


def test_words_beside_crowded_points_hide_neither_each_other_nor_points():
    vectors = np.array([[1.0, 0.0, 0.0], [1.0, 0.01, 0.0], [1.0, 0.0, 0.01], [-3.0, 4.0, 0.0], [0.0, -4.0, 1.0]])
    words = ["excellent", "wonderful", "marvellous", "actor", "war"]
    ax = plots.neighbours(vectors, words, ["excellent", "actor", "war"], count=2)
    boxes = [text.get_window_extent() for text in ax.texts]
    points = ax.transData.transform(np.vstack([line.get_xydata() for line in ax.lines]))
    assert len(boxes) == 5
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k]), words[k]
        assert not any(box.contains(*point) for point in points), words[k]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.confusion([[3, 1], [0, 2]], "ab"), "labels is one string"),
        (lambda: plots.confusion([[3, 1, 0], [0, 2, 0]], ["a", "b"]), r"matrix has shape \(2, 3\), expected \(2, 2\)"),
        (lambda: plots.gradient_by_lag([1.0, 0.5]), "norms is list, expected a dict"),
        (lambda: plots.gradient_by_lag({"LSTM": "falling"}), r"norms\['LSTM'\] is one string"),
        (lambda: plots.accuracy_by_group({"LSTM": [0.5]}, ["short", "long"]), r"accuracies\['LSTM'\] has shape \(1,\)"),
        (lambda: plots.training_curves({"LSTM": [[1.0], ["low"]]}), r"histories\['LSTM'\]\[1\] has dtype <U3"),
        (lambda: plots.training_curves({"LSTM": []}), r"histories\['LSTM'\] is empty, expected at least one run"),
        (lambda: plots.training_curves([[1.0, 2.0]]), "histories is list, expected a dict"),
        (lambda: plots.training_curves({}), "histories is dict, expected a dict with values for at least one name"),
        (lambda: plots.state_strips({"true": [0, 0.5]}), r"strips\['true'\]\[1\] is 0.5, expected a state"),
        (lambda: plots.state_strips([0, 1]), "strips is list, expected a dict"),
        (lambda: plots.state_runs([0, -1]), r"states\[1\] is -1, expected a state"),
        (lambda: plots.state_runs([0, None]), r"states\[1\] is nan, expected a state"),
        (lambda: plots.coloured_text(["a", "b"], [1.0, np.nan]), r"values\[1\] is nan, expected a finite number"),
        (lambda: plots.coloured_text(["a"], [1.0], limit=-1), "limit is -1, expected a number above 0"),
        (lambda: plots.state_runs([]), r"states has shape \(0,\)"),
        (lambda: plots.state_strips({"true": {0: 1}}), r"strips\['true'\] is dict"),
        (lambda: plots.state_posteriors([0.5, 0.5]), r"posterior has shape \(2,\)"),
        (lambda: plots.em_objective([[1.0, None, {}]]), r"histories\[0\]\[2\] is \{\}"),
        (lambda: plots.transitions([[0.5, 0.5]]), r"transmat has shape \(1, 2\), expected \(1, 1\)"),
        (lambda: plots.contributions([1.0]), "contributions has shape"),
        (lambda: plots.jacobian_spectrum([[1.0]]), "values has shape"),
        (lambda: plots.word_effects("good film", {"saliency": [1.0]}), "words is one string"),
        (lambda: plots.word_effects(["good"], {"saliency": [1.0, 2.0]}), r"effects\['saliency'\] has shape \(2,\)"),
        (lambda: plots.step_sizes([0.1], {"central": [1.0, 2.0]}), r"errors\['central'\] has shape"),
        (lambda: plots.activation_values("sine", [1.0]), "name is 'sine'"),
        (lambda: plots.neighbours([[1.0], [2.0]], ["a"], ["a"]), "vectors has shape"),
    ],
)
def test_what_does_not_fit_is_named(draw, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw()


def test_lists_columns_and_indexed_series_are_drawn_as_arrays_are():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    values = pandas.Series([4.0, 2.0], index=[7, 9])
    assert plots.gradient_by_lag({"GRU": values}).lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert plots.confusion([[3, 1], [0, 2]], pandas.Index(["a", "b"])).texts[0].get_text() == "3\n75.0%"
    assert len(plots.state_posteriors([[0.5, 0.5], [1.0, 0.0]]).lines) == 2
    assert len(plots.transitions([[0.5, 0.5], [1.0, 0.0]]).texts) == 4
    effects = {str(k): [1.0] for k in range(9)}  # more than there are colours
    assert len(plots.word_effects(["good"], effects).patches) == 9
