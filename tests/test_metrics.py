"""Metrics equal scikit-learn's on whatever hypothesis draws, and wrong input is named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
import strict_xp
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnscratch import metrics

SCORES = {
    "precision": (metrics.precision, sklearn.metrics.precision_score),
    "recall": (metrics.recall, sklearn.metrics.recall_score),
    "f1": (metrics.f1, sklearn.metrics.f1_score),
}


def labels(classes):
    return st.lists(st.tuples(st.sampled_from(classes), st.sampled_from(classes)), min_size=1, max_size=30)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=40, deadline=None)
@given(pairs=labels([0, 1]) | labels([0, 1, 2, 7]) | labels(["bad", "good", "so so"]))
def test_averages_equal_scikit_learn(name, average, pairs):
    y_true, y_pred = zip(*pairs)
    ours, theirs = SCORES[name]
    right = theirs(y_true, y_pred, average=average, zero_division=0)
    assert ours(list(y_true), list(y_pred), average) == pytest.approx(right, abs=1e-14)


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=60, deadline=None)
@given(pairs=labels([0, 1]), positive=st.sampled_from([0, 1]))
def test_binary_scores_equal_scikit_learn(name, pairs, positive):
    y_true, y_pred = (np.array(y) for y in zip(*pairs))
    ours, theirs = SCORES[name]
    # scikit-learn refuses a positive class of 0 where no label is 0, though it takes a positive class of 1 likewise
    present = positive == 1 or 0 in y_true or 0 in y_pred
    right = theirs(y_true, y_pred, pos_label=positive, zero_division=0) if present else 0.0
    assert ours(y_true, y_pred, positive=positive) == pytest.approx(right, abs=1e-14)


@settings(max_examples=60, deadline=None)
@given(pairs=labels([0, 1, 2]) | labels(["bad", "good"]))
def test_accuracy_and_confusion_matrix_equal_scikit_learn(pairs):
    y_true, y_pred = map(list, zip(*pairs))
    assert metrics.accuracy(y_true, y_pred) == pytest.approx(sklearn.metrics.accuracy_score(y_true, y_pred), abs=1e-15)
    present = sorted(set(y_true + y_pred))
    absent = 9 if isinstance(present[0], int) else "worst"  # scikit-learn warns of matrices of one class
    right = sklearn.metrics.confusion_matrix(y_true, y_pred, labels=[*present, absent])[:-1, :-1]
    assert np.array_equal(metrics.confusion_matrix(y_true, y_pred), right)
    assert np.array_equal(metrics.confusion_matrix(y_true, y_pred, labels=present[::-1]), right[::-1, ::-1])


@settings(max_examples=80, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), max_size=30), scale=st.sampled_from([0.1, 1e9]))
def test_roc_auc_equals_scikit_learn_with_ties(pairs, scale):
    y_true, scores = (np.array(values) for values in zip((0, 0), (1, 1), *pairs))
    right = sklearn.metrics.roc_auc_score(y_true, scores * scale)
    assert metrics.roc_auc(y_true, scores * scale) == pytest.approx(right, abs=1e-14)
    assert metrics.roc_auc(y_true == 1, scores) == pytest.approx(right, abs=1e-14)


@settings(max_examples=40, deadline=None)
@given(pairs=labels([0, 1, 2, 7]) | labels(["bad", "good", "so so"]))
def test_figures_of_each_class_equal_scikit_learn(pairs):
    y_true, y_pred = map(list, zip(*pairs))
    right = sklearn.metrics.precision_recall_fscore_support(y_true, y_pred, zero_division=0)
    for ours, theirs in zip(metrics.by_class(y_true, y_pred), right):
        np.testing.assert_allclose(ours, theirs, atol=1e-14)
    first = sorted({*y_true, *y_pred})[0]
    assert metrics.by_class(y_true, y_pred, [first, *({*y_true, *y_pred} - {first})]).support[0] == y_true.count(first)


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 20), (3, 7), (50, 50), (999, 1000), (21_000, 25_000)])
def test_the_interval_of_a_share_is_wilson_s(hits, count):
    """Its ends are the shares p from which the one found is 1.96 standard errors of p away."""
    z = 1.959963984540054
    low, high = metrics.share_interval(hits, count)
    for end in (low, high):
        assert abs(hits / count - end) == pytest.approx(z * math.sqrt(end * (1 - end) / count), rel=1e-9, abs=1e-12)
    assert 0 <= low <= hits / count <= high <= 1 and low < high


@pytest.mark.parametrize(
    ("arguments", "match"), [((1, 0), "count is 0"), ((3, 2), "hits is 3"), ((-1, 2), "hits is -1")]
)
def test_the_interval_of_what_is_no_share_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        metrics.share_interval(*arguments)


def test_confusion_matrix_has_the_true_class_as_row():
    assert metrics.confusion_matrix([0, 0, 1], [0, 1, 1]).tolist() == [[1, 1], [0, 1]]


def test_a_ratio_without_denominator_is_zero():
    for score in (metrics.precision, metrics.recall, metrics.f1):
        assert score([0, 0], [0, 0]) == 0.0
    assert metrics.precision([0, 1], [0, 0]) == 0.0
    assert metrics.recall([0, 0], [0, 1]) == 0.0


@pytest.mark.parametrize(("K", "N"), [(2, 1), (10, 7), (20000, 3)])
def test_perplexity_of_a_uniform_guess_is_the_number_of_choices(K, N):
    assert metrics.perplexity([math.log(K)] * N) == pytest.approx(K, rel=1e-12)
    assert metrics.perplexity(np.full(N, math.log(K)).mean()) == pytest.approx(K, rel=1e-12)


def test_perplexity_of_the_impossible_is_infinite():
    assert metrics.perplexity([800.0]) == math.inf
    assert metrics.perplexity([1.0, math.inf]) == math.inf


@pytest.mark.parametrize(
    ("y_true", "y_pred", "average"),
    [([0, 1, 1], [0, 1, 0], "binary"), ([False, True, True], [0, 1, 0], "binary"), ([0, 1, 2], [0, 2, 2], "macro")],
)
def test_classification_scores_are_the_four_scores(y_true, y_pred, average):
    assert metrics.classification_scores(y_true, y_pred) == {
        "accuracy": metrics.accuracy(y_true, y_pred),
        "precision": metrics.precision(y_true, y_pred, average),
        "recall": metrics.recall(y_true, y_pred, average),
        "f1": metrics.f1(y_true, y_pred, average),
    }


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (metrics.accuracy, ([0, 1], [0]), ValueError, r"y_pred has shape \(1,\), expected \(2,\) as y_true"),
        (metrics.accuracy, (np.eye(2), np.eye(2)), ValueError, r"y_true has shape \(2, 2\), expected one row"),
        (metrics.accuracy, ([], []), ValueError, "y_true is empty, expected at least one example"),
        (metrics.accuracy, ([0, 1], [0.3, 0.9]), ValueError, r"y_pred\[0\] is 0.3, expected class labels, not prob"),
        (metrics.accuracy, ([0, np.nan], [0, 1]), ValueError, r"y_true\[1\] is not finite"),
        (metrics.accuracy, (["a", "b"], [0, 1]), TypeError, "y_pred holds 0 and y_true 'a', expected one kind"),
        (metrics.accuracy, (strict_xp.asarray(np.ones(2)), [1, 1]), TypeError, "(?i)implicit conversion"),
        (
            metrics.confusion_matrix,
            ([0, 3], [0, 1], [0, 1]),
            ValueError,
            r"y_true\[1\] is 3, expected one of \[0, 1\]",
        ),
        (metrics.f1, ([0, 1], [0, 1], "mean"), ValueError, "average is 'mean', expected one of 'binary', 'macro'"),
        (metrics.f1, ([0, 1, 2], [0, 1, 1]), ValueError, r"expected two classes but got \[0, 1, 2\]"),
        (metrics.f1, ([1, 2], [1, 2], "binary", 3), ValueError, r"positive is 3, expected one of the classes \[1, 2\]"),
        (
            metrics.roc_auc,
            ([1, 1], [0.1, 0.2]),
            ValueError,
            "2 positive and 0 negative examples, expected some of both",
        ),
        (metrics.roc_auc, ([0, 0], [0.1, 0.2]), ValueError, "0 positive and 2 negative examples"),
        (metrics.roc_auc, ([1, -1], [0.1, 0.2]), ValueError, r"y_true\[1\] is -1, expected one of \[0, 1\]"),
        (metrics.roc_auc, ([1, 0], [0.1, np.nan]), ValueError, r"scores\[1\] is nan, expected a number"),
        (metrics.roc_auc, ([1, 0], [0.1]), ValueError, r"scores has shape \(1,\), expected \(2,\)"),
        (metrics.roc_auc, (["1", "0"], [0.1, 0.2]), TypeError, "y_true holds '1' and the model's classes 0"),
        (metrics.roc_auc, ([1, 0], [0.1, 0.2], [1, 1]), ValueError, "expected the negative and the positive class"),
        (metrics.f1, (["yes"], ["yes"]), TypeError, "positive holds 1 and y_true 'yes', expected one kind"),
        (metrics.f1, ([1, 0], [1, 0], "macro", 1, [0, 0]), ValueError, "labels is .*, expected different classes"),
        (metrics.f1, (["1", "0"], [1, 0], "macro"), TypeError, "y_pred holds 1 and y_true '1', expected one kind"),
        (metrics.accuracy, ({0: 1}, [1]), TypeError, "y_true is dict"),
        (metrics.accuracy, ([1, None], [1, 1]), ValueError, r"y_true\[1\] is not finite or missing"),
        (metrics.perplexity, ([],), ValueError, "negative_log_likelihoods is empty"),
        (metrics.perplexity, ([1.0, math.nan],), ValueError, r"negative_log_likelihoods\[1\] is nan"),
        (metrics.perplexity, ([-math.inf, math.inf],), ValueError, r"negative_log_likelihoods\[0\] is -inf"),
    ],
)
def test_wrong_arguments_are_named(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


def test_rows_are_taken_from_any_container_and_by_position():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    true, predicted = [0, 1, 1, 0], [0, 1, 0, 0]
    right = metrics.classification_scores(true, predicted)
    for make in (
        iter,
        np.array,
        lambda y: np.array(y, object),
        lambda y: pandas.Series(y, index=[3, 2, 1, 0]),
        lambda y: pandas.DataFrame({"y": y}, index=[9, 9, 9, 9]),
        lambda y: pandas.Series(y, dtype="category"),
        torch.tensor,
    ):
        assert metrics.classification_scores(make(true), predicted) == right
        assert metrics.classification_scores(make(true), make(predicted)) == right
        assert metrics.f1(make(true), make(predicted)) == right["f1"]
        assert metrics.roc_auc(make(true), make([0.1, 0.9, 0.2, 0.3])) == metrics.roc_auc(true, [0.1, 0.9, 0.2, 0.3])


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@settings(max_examples=40, deadline=None)
@given(pairs=labels([0, 2]) | labels([1, 2, 7]))
def test_with_the_models_classes_a_figure_does_not_depend_on_which_occur(average, pairs):
    y_true, y_pred = zip(*pairs)
    classes = [7, 0, 1, 2]
    for ours, theirs in SCORES.values():
        right = theirs(y_true, y_pred, labels=classes, average=average, zero_division=0)
        assert ours(y_true, y_pred, average, labels=classes) == pytest.approx(right, abs=1e-14)
    scores = metrics.classification_scores(y_true, y_pred, classes)
    assert scores["f1"] == metrics.f1(y_true, y_pred, "macro", labels=classes)


@pytest.mark.parametrize("kind", [np.uint64, float])
def test_large_labels_of_two_dtypes_are_compared_as_whole_numbers(kind):
    true, predicted = np.array([2**53 + 1, 2**53]), np.array([2**53, 2**53], kind)
    assert metrics.accuracy(true, predicted) == 0.5
    assert metrics.confusion_matrix(true, predicted).tolist() == [[1, 0], [1, 0]]


def test_of_two_named_classes_the_second_is_the_positive_one_of_the_auc():
    names, numbers = ["yes", "no", "yes", "no"], [1, 0, 1, 0]
    scores = [0.9, 0.4, 0.3, 0.2]
    assert metrics.roc_auc(names, scores, ["no", "yes"]) == metrics.roc_auc(numbers, scores) == 0.75
    assert metrics.f1(names, ["yes", "yes", "yes", "no"], positive="yes", labels=["no", "yes"]) == pytest.approx(0.8)


def predictions(both, first_only, second_only, neither):
    """Labels, and predictions of two classifiers of which so many are right."""
    right = [(1, 1)] * both + [(1, 0)] * first_only + [(0, 1)] * second_only + [(0, 0)] * neither
    return ([1] * len(right), *np.random.default_rng(0).permutation(right).T)


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [
        ((101, 121, 59, 33), 4.434449263755165e-06),  # scipy.stats.binomtest(59, 180).pvalue
        ((9, 59, 121, 3), 4.434449263755165e-06),
        ((5, 0, 5, 1), 0.0625),  # binomtest(0, 5)
        ((5, 3, 7, 1), 0.34375),  # binomtest(3, 10)
        ((5, 2, 14, 0), 0.004180908203125),  # binomtest(2, 16)
        ((0, 4, 4, 0), 1.0),
        ((7, 1, 0, 0), 1.0),
        ((7, 0, 0, 2), 1.0),
        ((100, 900, 1100, 50), 8.45708953550381e-06),
    ],
)
def test_mcnemar_is_the_exact_two_sided_binomial_test(counts, p_value):
    labels, first, second = predictions(*counts)
    found = metrics.mcnemar(labels, first, second)
    assert (found.first_only, found.second_only) == counts[1:3]
    assert found.p_value == pytest.approx(p_value, rel=1e-11)


def test_mcnemar_counts_what_is_right_whatever_the_labels_are_called():
    found = metrics.mcnemar(["a", "b", "c", "c"], ["a", "b", "c", "a"], ["b", "a", "c", "b"])
    assert found == (2, 0, 0.5)
    with pytest.raises(ValueError, match=r"second has shape \(1,\), expected \(2,\) as y_true"):
        metrics.mcnemar([0, 1], [0, 1], [0])
    with pytest.raises(TypeError, match="first holds 'a' and y_true 0"):
        metrics.mcnemar([0, 1], ["a", "b"], [0, 1])


def test_mcnemar_of_many_examples_is_quick_and_underflows_to_0():
    labels, first, second = predictions(0, 20_000, 3_000, 0)
    assert metrics.mcnemar(labels, first, second).p_value == 0.0


def right_bleu(references, outputs, longest):
    """By the definition of Papineni et al. 2002, with the reference whose length is nearest."""
    shares, said, nearest = [], 0, 0
    for n in range(1, longest + 1):
        hits = count = 0
        for lists, output in zip(references, outputs):
            grams = [tuple(output[k : k + n]) for k in range(len(output) - n + 1)]
            for gram in set(grams):
                most = max(sum(tuple(each[k : k + n]) == gram for k in range(len(each) - n + 1)) for each in lists)
                hits += min(grams.count(gram), most)
            count += len(grams)
        shares.append(hits / max(count, 1))
    for lists, output in zip(references, outputs):
        said += len(output)
        nearest += min((abs(len(each) - len(output)), len(each)) for each in lists)[1]
    if min(shares) == 0:
        return 0.0
    return min(1.0, math.exp(1 - nearest / said)) * math.exp(sum(map(math.log, shares)) / longest)


@pytest.mark.parametrize("longest", [1, 2, 4])
def test_bleu_is_that_of_the_definition(longest, rng):
    for _ in range(20):
        outputs = [[str(t) for t in rng.integers(0, 4, rng.integers(4, 12))] for _ in range(3)]
        references = [
            [[str(t) for t in rng.integers(0, 4, rng.integers(4, 12))] for _ in range(rng.integers(1, 4))]
            for _ in range(3)
        ]
        found = metrics.bleu(references, outputs, longest)
        assert found == pytest.approx(right_bleu(references, outputs, longest), rel=1e-10)
    assert metrics.bleu([[each] for each in outputs], outputs, longest) == pytest.approx(1.0)
    assert metrics.bleu([[["x"]]], [["y"]], longest) == 0.0


@pytest.mark.parametrize(
    ("references", "outputs", "message"),
    [
        ([], [], "references number 0 and outputs 0"),
        ([[["a"]]], [["a"], ["b"]], "references number 1 and outputs 2"),
        ([[]], [["a"]], r"references\[0\] is empty"),
        ([[["a", 1]]], [["a"]], r"references\[0\]\[0\]\[1\] is int"),
        ([[["a"]]], [[1]], r"outputs\[0\]\[0\] is int"),
    ],
)
def test_what_is_no_output_or_reference_is_named(references, outputs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        metrics.bleu(references, outputs)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40), bins=st.integers(1, 12))
def test_calibration_equals_scikit_learn(pairs, bins):
    y_true, p = (np.array(column) for column in zip(*pairs))
    y_true = y_true.astype(int)
    found = metrics.calibration(y_true, p, bins)
    if len(set(y_true)) == 2:  # scikit-learn asks for both
        observed, predicted = sklearn.calibration.calibration_curve(y_true, p, n_bins=bins)
        np.testing.assert_allclose(found.predicted, predicted, atol=1e-14)
        np.testing.assert_allclose(found.observed, observed, atol=1e-14)
    assert found.counts.sum() == len(p)
    error = sum(n * abs(a - b) for n, a, b in zip(found.counts, found.predicted, found.observed)) / len(p)
    assert found.error == pytest.approx(error, abs=1e-14)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0, 1], [0.5, 1.5]), ValueError, r"probabilities\[1\] is 1.5, expected a number from 0 to 1"),
        (([0, 1], [0.5, math.nan]), ValueError, r"probabilities\[1\] is nan"),
        (([0, 1], [0.5]), ValueError, r"probabilities has shape \(1,\), expected \(2,\)"),
        (([0, 2], [0.5, 0.5]), ValueError, r"y_true\[1\] is 2"),
        (([0, 1], [0.5, 0.5], 0), ValueError, "bins is 0"),
        (([0, 1], [0.5, 0.5], 10, (1,)), ValueError, r"labels is \[1\], expected the negative and the positive class"),
        (([], []), ValueError, "y_true is empty"),
    ],
)
def test_what_cannot_be_calibrated_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        metrics.calibration(*arguments)
