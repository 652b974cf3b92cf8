"""What X, lengths, states, beliefs, parameters and options may be: containers mean the same, the rest is named."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum

import numpy as np
import pytest
from families import FAMILIES, make, observations
from peers import tensor

from rnnscratch.hmm import (
    CategoricalHMM,
    ConvergenceMonitor,
    GaussianHMM,
    HMMClassifier,
    MarkovChain,
    PoissonHMM,
    inference,
    load_hmm,
)
from rnnscratch.hmm.frames import lay_out

pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")


def rainy():
    """hmmlearn's example."""
    model = CategoricalHMM(2)
    model.startprob_, model.transmat_ = [0.6, 0.4], [[0.7, 0.3], [0.4, 0.6]]
    model.emissionprob_ = [[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]
    return model


def named(symbols="abc"):
    model = rainy()
    model.vocabulary_ = list(symbols)
    return model


def gaussian(D=2, **options):
    return make("gaussian diag", 2, np.random.default_rng(0), **options)


SYMBOLS = [0, 1, 2]
POSTERIOR = [0.23170303, 0.62406281, 0.86397706]  # as hmmlearn's tests have it


@pytest.mark.parametrize(
    "X",
    [
        SYMBOLS,
        [[0], [1], [2]],
        tuple(SYMBOLS),
        deque(SYMBOLS),
        range(3),
        (k for k in SYMBOLS),
        map(int, SYMBOLS),
        np.array(SYMBOLS, ">i2"),
        np.array(SYMBOLS, np.uint8)[:, None],
        np.array(SYMBOLS, object),
        np.array([0.0, 1.0, 2.0], np.float32),
        np.ma.masked_array(SYMBOLS, mask=False),
        pandas.Series(SYMBOLS, index=[5, 5, 1]),
        pandas.Series(SYMBOLS, dtype="Int64"),
        pandas.DataFrame({"x": SYMBOLS}),
        pandas.Index(SYMBOLS),
        tensor(SYMBOLS),
        [tensor(k) for k in SYMBOLS],
        [np.array(SYMBOLS)],
        [SYMBOLS],
    ],
    ids=lambda X: type(X).__name__,
)
def test_a_row_or_a_column_of_symbols_is_one_sequence(X):
    np.testing.assert_allclose(rainy().predict_proba(X)[:, 0], POSTERIOR, atol=1e-6)


@pytest.mark.parametrize(
    "X",
    [
        "abc",
        list("abc"),
        [["a"], ["b"], ["c"]],
        np.array(list("abc")),
        np.array(list("abc"), object)[:, None],
        pandas.Series(list("abc"), index=[3, 3, 3]),
        pandas.Series(list("abc"), dtype="category"),
        pandas.DataFrame({"x": list("abc")}),
        pandas.Index(list("abc")),
        (k for k in "abc"),
        ["abc"],
        [list("abc")],
        [np.array(list("abc"))],
    ],
    ids=lambda X: type(X).__name__,
)
def test_strings_mean_what_integers_mean(X):
    np.testing.assert_allclose(named().predict_proba(X)[:, 0], POSTERIOR, atol=1e-6)


@pytest.mark.parametrize(
    "X",
    [
        [[0, 1, 2], [1, 2]],
        [np.array([0, 1, 2]), np.array([1, 2])],
        [pandas.Series([0, 1, 2]), pandas.Series([1, 2])],
        [tensor([0, 1, 2]), [1, 2]],
        np.array([np.array([0, 1, 2]), np.array([1, 2])], dtype=object),
        pandas.Series([[0, 1, 2], [1, 2]]),
        [[[0], [1], [2]], [[1], [2]]],
        (part for part in ([0, 1, 2], [1, 2])),
        ["abc", "bc"],
        [list("abc"), list("bc")],
        ["abc", list("bc")],
        [np.array(list("abc")), pandas.Series(list("bc"))],
    ],
    ids=lambda value: type(value).__name__,
)
def test_ragged_lists_and_lists_of_arrays_are_several_sequences(X):
    expected = named().score_sequences([0, 1, 2, 1, 2], [3, 2])
    np.testing.assert_array_equal(named().score_sequences(X), expected)


def test_lists_of_one_length_are_several_sequences_of_symbols_but_one_of_features():
    rows = [[0, 1, 2], [1, 2, 0]]
    np.testing.assert_array_equal(rainy().score_sequences(rows), rainy().score_sequences([0, 1, 2, 1, 2, 0], [3, 3]))
    with pytest.raises(ValueError, match=r"X has shape \(2, 3\), expected one row or column"):
        rainy().score(np.array(rows))
    values = [[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]]
    assert gaussian().score_sequences(values).shape == (1,)
    assert gaussian().score_sequences([values, values[:1]]).shape == (2,)
    assert gaussian().score_sequences(np.array([values, values])).shape == (2,)
    np.testing.assert_array_equal(
        GaussianHMM(1, n_iter=2).fit([[0.0, 1.0, 5.0], [2.0, 3.0]]).means_,
        GaussianHMM(1, n_iter=2).fit([0.0, 1.0, 5.0, 2.0, 3.0], [3, 2]).means_,
    )


def test_a_list_of_words_is_never_read_as_letters_in_silence():
    words = ["rain", "sun", "sun", "rain"]
    with pytest.raises(ValueError, match=r"may be symbols or sequences of characters: give \[X\]"):
        CategoricalHMM(1).fit(words)
    model = CategoricalHMM(1, n_iter=1, random_state=0).fit([words])
    for same in (np.array(words), pandas.Series(words)):
        assert CategoricalHMM(1, n_iter=1, random_state=0).fit(same).score(words) == model.score([words])
    assert model.vocabulary_ == ["rain", "sun"] and model.predict(["sun", "rain"]).shape == (2,)
    assert CategoricalHMM(1, vocabulary=["sun", "rain"]).fit(words).emissionprob_.tolist() == [[0.5, 0.5]]
    assert CategoricalHMM(1).fit(words, [2, 2]).vocabulary_ == ["rain", "sun"]
    letters = CategoricalHMM(1).fit(["AAB", "ABBA"])  # as ever: sequences of characters
    assert letters.vocabulary_ == ["A", "B"] and letters.score_sequences(["AB", "A"]).shape == (2,)
    assert CategoricalHMM(1).fit(list("ACGT")).score_sequences(list("ACGT")).shape == (1,)


def test_strings_go_in_and_come_back_as_strings(tmp_path):
    model = named()
    np.testing.assert_array_equal(model.update(None, "b"), rainy().update(None, 1))
    X, states = model.sample(50, random_state=0)
    numbers, same = rainy().sample(50, random_state=0)
    assert X.shape == (50, 1) and X.dtype.kind == "U"
    np.testing.assert_array_equal(X, np.array(list("abc"))[numbers])
    np.testing.assert_array_equal(states, same)
    assert model.decode(X)[0] == rainy().decode(numbers)[0]
    chain = MarkovChain(smoothing=1.0).fit(["aab", "abba"])
    drawn = chain.sample(30, random_state=0, start="b")
    assert drawn[0] == "b" and set(drawn) == {"a", "b"} and math.isfinite(chain.log_probability(drawn))
    assert chain.period("a") == 1
    with pytest.raises(ValueError, match="start holds 'c', which is not in the vocabulary"):
        chain.sample(3, start="c")
    model.save(tmp_path / "m.npz")
    assert load_hmm(tmp_path / "m.npz").score("abc") == model.score("abc")


@pytest.mark.parametrize(
    "X",
    [
        [0, -1, 2],
        [0, None, 2],
        [0, math.nan, 2],
        [0, pandas.NA, 2],
        np.array([0.0, math.nan, 2.0]),
        np.ma.masked_array(SYMBOLS, mask=[0, 1, 0]),
        pandas.Series([0, None, 2], dtype="Int64"),
        pandas.Series([0, None, 2]),
        ["a", None, "c"],
        ["a", math.nan, "c"],
        pandas.Series(["a", None, "c"]),
        pandas.Series(["a", None, "c"], dtype="string"),
        np.ma.masked_array(list("abc"), mask=[0, 1, 0]),
        [np.array(["a", None, "c"], object)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_missing_symbol_has_many_names(X):
    np.testing.assert_array_equal(named().predict_proba(X), rainy().predict_proba([0, -1, 2]))


def test_a_missing_symbol_alone_is_a_step_without_news():
    belief = rainy().update(None, 1)
    for missing in (-1, None, math.nan, pandas.NA):
        np.testing.assert_allclose(rainy().update(belief, missing), rainy().predict_next(belief))
    for missing in (None, math.nan, [math.nan, math.nan], pandas.Series([None, None], dtype="Float64")):
        model = gaussian() if hasattr(missing, "__len__") else GaussianHMM(2, random_state=0).fit([0.0, 5.0, 1.0])
        np.testing.assert_allclose(model.update(None, missing), model.startprob_)


VALUES = np.random.default_rng(5).normal(0, 2, (7, 2)).astype(np.float32)
READ_ONLY = VALUES.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "X",
    [
        VALUES.tolist(),
        VALUES.astype(">f4"),
        READ_ONLY,
        np.asfortranarray(VALUES),
        VALUES.astype(object),
        np.ma.masked_array(VALUES),
        pandas.DataFrame(VALUES, columns=["x", "y"], index=list("gfedcba")),
        pandas.DataFrame({"x": VALUES[:, 0], "y": VALUES[:, 1].astype(float)}),
        tensor(VALUES),
        [tensor(VALUES)],
        (row for row in VALUES.tolist()),
        [pandas.DataFrame(VALUES)],
    ],
    ids=lambda X: type(X).__name__,
)
def test_columns_are_features_in_any_container(X):
    assert gaussian().score(X) == gaussian().score(VALUES)


@pytest.mark.parametrize("lengths", [(4, 3), [np.int8(4), 3], pandas.Series([4, 3], index=[9, 9]), tensor([4, 3])])
def test_lengths_states_and_beliefs_come_in_any_container(lengths):
    expected = gaussian(n_iter=2, random_state=0).fit(VALUES, [4, 3], states=[0, 1, -1, -1, 1, 0, -1])
    for states in (
        [[0, 1, -1, -1], [1, 0, -1]],
        [0, 1, None, math.nan, 1, 0, None],
        pandas.Series([0, 1, None, None, 1, 0, None], dtype="Int64"),
        np.array([[0], [1], [-1], [-1], [1], [0], [-1]]),
        tensor([0, 1, -1, -1, 1, 0, -1]),
    ):
        found = gaussian(n_iter=2, random_state=0).fit(VALUES, lengths, states=states)
        np.testing.assert_array_equal(found.means_, expected.means_)
    with pytest.raises(ValueError, match=r"states\[0\] has shape \(3,\), expected \(4,\)"):
        gaussian().fit(VALUES, lengths, states=[[0, 1, -1], [-1, 1, 0, -1]])
    with pytest.raises(TypeError, match="states is dict"):
        gaussian().fit(VALUES, states={0: 1})
    with pytest.raises(ValueError, match=r"lengths\[0\] is 4611686018427387904, but X has 7 frames"):
        gaussian().fit(VALUES, [2**62, 2**62, 2**62, 2**62 + 7])
    model = rainy()
    for belief in (pandas.Series([0.25, 0.75]), tensor([0.25, 0.75]), np.float32([0.25, 0.75]), (0.25, 0.75)):
        np.testing.assert_allclose(model.update(belief, 1), model.update([0.25, 0.75], 1))


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ({"a": [1.0]}, "X is dict"),
        ({1.0}, "X is set"),
        (None, "X is None"),
        (b"ab", "X is one bytes"),
        ("ab", "X is one string"),
        (3.0, "X is 3.0, expected a list"),
        ([["a", "b"]], "X has dtype <U1"),
        (VALUES + 1j, "X has dtype complex64"),
        ([[1.0, 2.0], 3.0], r"X\[1\] is 3.0, expected a sequence"),
        ([[1.0, 2.0], {"a": 1}], r"X\[1\] is dict"),
        ([[[1.0, 2.0]], [[1.0]]], r"X\[1\] has 1 features, X\[0\] has 2"),
        ([[1.0, object()]], r"X\[0, 1\] is <object"),
        (np.zeros((2, 2, 2, 2)), r"X has shape \(2, 2, 2, 2\)"),
        (pandas.DataFrame({"x": [1.0], "y": ["a"]}), r"X\[0, 1\] is 'a'"),
        ([], "0 feature|at least"),
    ],
)
def test_what_cannot_be_data_is_refused_by_name(X, words):
    before = dict(vars(model := gaussian()))
    for call in (model.fit, model.score, model.decode, model.predict, model.filter, model.score_samples):
        with pytest.raises((TypeError, ValueError), match=words):
            call(X)
    assert vars(model) == before


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([0, 1.5], "X has dtype float64, expected integers"),
        ([True, False], "X has dtype bool, expected integers"),
        ([0, 1j], "X has dtype complex128"),
        ([0, "a"], "X holds strings and 0"),
        (["a", 0], "X holds strings and 0"),
        ([["a", "b"], [0, 1, 1]], "holds (strings|integers), those before it do not|fitted to integers"),
        (np.array([2**64 - 1], np.uint64), "X holds 18446744073709551615"),
        ([0, np.inf], "X has dtype float64"),
        ({"a": 1}, "X is dict"),
        ([{"a": 1}], r"X\[0\] is dict"),
    ],
)
def test_what_are_no_symbols_is_refused_by_name(X, words):
    for call in (rainy().score, CategoricalHMM(2).fit):
        with pytest.raises((TypeError, ValueError), match=words):
            call(X)


class Mood(str, Enum):
    GOOD = "good"


class Shout(str):
    def __str__(self):
        return self.upper()


def test_symbols_that_would_change_are_refused():
    for fit in (lambda row: CategoricalHMM(1).fit([row]), lambda row: MarkovChain(smoothing=1.0).fit([row])):
        with pytest.raises(TypeError, match=r"\[0\] is <Mood.GOOD.*, a member of an Enum"):
            fit([Mood.GOOD, "bad"])
        with pytest.raises(ValueError, match="would come back from an array"):
            fit(["a\0", "b"])
        assert fit([Shout("a"), np.str_("b")]).vocabulary_ == ["a", "b"]
    with pytest.raises(TypeError, match="a member of an Enum"):
        CategoricalHMM(1, vocabulary=[Mood.GOOD]).fit([["good"]])


def test_a_far_symbol_is_not_worth_a_table():
    for fit in (CategoricalHMM(2).fit, lambda X: MarkovChain().fit([X])):
        with pytest.raises(ValueError, match="the largest symbol is 5000000: .* MB"):
            fit([0, 1, 5_000_000])
    with pytest.raises(ValueError, match="the largest symbol is 5000000"):
        HMMClassifier(CategoricalHMM(2)).fit([[0, 1], [5_000_000]], [0, 1])
    assert CategoricalHMM(2, n_iter=1).fit([0, 1, 50_000]).n_features_ == 50_001


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_single_and_half_precision_are_precise_enough(dtype):
    rng = np.random.default_rng(0)
    for K in (2, 50, 1000):
        logits = rng.standard_normal((3, K)).astype(dtype)
        soft = np.exp(logits - logits.max(axis=1, keepdims=True))
        soft /= soft.sum(axis=1, keepdims=True)
        assert soft.dtype == dtype
        model = CategoricalHMM(3)
        model.startprob_ = np.array([0.2, 0.3, 0.5], dtype)
        model.transmat_, model.emissionprob_ = np.array([[0.1, 0.2, 0.7]] * 3, dtype), soft
        total = math.fsum(math.exp(model.score([k])) for k in range(min(K, 60)))
        assert total <= 1.0 + 1e-12 and (K > 60 or total == pytest.approx(1.0, abs=1e-12))
        assert model.predict_next(np.array([0.1, 0.2, 0.7], dtype)).sum() == pytest.approx(1.0, abs=1e-14)
    with pytest.raises(ValueError, match="transmat_"):
        wrong = rainy()
        wrong.transmat_ = np.array([[0.7, 0.31], [0.4, 0.6]], np.float32)
        wrong.score([0])


def test_a_state_below_all_doubles_comes_back_where_later_frames_speak_for_it():
    """Two states that are never left; the second lies 800 nats below at first, the first twice 400 later."""
    log_b, start = np.array([[0.0, -400.0, -400.0], [-800.0, 0.0, 0.0]]), np.array([0.5, 0.5])
    found = inference.expectation(log_b, start, np.eye(2), lay_out([3]))
    np.testing.assert_allclose(found.posterior, 0.5)
    np.testing.assert_allclose(found.log_likelihood, [-800.0])
    np.testing.assert_allclose(inference.log_likelihood(log_b, start, np.eye(2), lay_out([3])), [-800.0])


WRONG = ["ab", None, [[1.0], [1.0, 2.0]], 1j, {"a": 1}, [["x"]], float("nan"), [float("nan")], object()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_parameters_that_cannot_be_are_named_in_every_call(family, value):
    X = observations(make(family, 2, np.random.default_rng(0)), 6, np.random.default_rng(1), missing=False)
    calls = [
        lambda model: model.score(X),
        lambda model: model.decode(X),
        lambda model: model.predict_proba(X),
        lambda model: model.sample(3),
        lambda model: model.update(None, X[0]),
        lambda model: model.predict_next([0.5, 0.5]),
        lambda model: model.num_params,
    ]
    for name in make(family, 2, np.random.default_rng(0))._arrays():
        model = make(family, 2, np.random.default_rng(0))
        setattr(model, name, value)
        for call in calls:
            with pytest.raises((TypeError, ValueError), match=name):
                call(model)


NUMBERS = [math.nan, None, math.inf, -5, "1", 1j, [1.0, math.nan]]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["startprob_prior", "transmat_prior", "emissionprob_prior"])
def test_dirichlet_priors_that_cannot_be_are_named(name, value):
    for call in (CategoricalHMM(2, **{name: value}).fit, rainy().set_params(**{name: value}).score):
        with pytest.raises((TypeError, ValueError), match=name):
            call([0, 1, 2])


@pytest.mark.parametrize("name", ["startprob_prior", "transmat_prior", "emissionprob_prior"])
@pytest.mark.parametrize("value", [0.5, 0.0, [0.9, 2.0]])
def test_below_one_a_dirichlet_prior_has_no_largest_density(name, value):
    with pytest.raises(ValueError, match=f"{name} holds 0.*, expected at least 1: below, there is no largest density"):
        CategoricalHMM(2, **{name: value}).fit([0, 1, 1, 0])


@pytest.mark.parametrize("value", [np.full((2, 2), 3.0), pandas.DataFrame([[3.0, 3.0]] * 2), [3, 3], tensor(3.0)])
def test_priors_come_in_any_container_that_broadcasts(value, tmp_path):
    X = np.random.default_rng(0).integers(0, 2, 40)
    expected = CategoricalHMM(2, transmat_prior=3.0, random_state=0, n_iter=4).fit(X)
    model = CategoricalHMM(2, transmat_prior=value, random_state=0, n_iter=4).fit(X)
    np.testing.assert_allclose(model.transmat_, expected.transmat_)
    model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"transmat_prior has shape \(3,\), expected a number or an array that broad"):
        CategoricalHMM(2, transmat_prior=[3, 3, 3]).fit(X)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["lambdas_prior", "lambdas_weight"])
def test_poisson_priors_that_cannot_be_are_named(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        PoissonHMM(2, **{name: value}).fit([[1], [4]])


@pytest.mark.parametrize("D", [2, 3])
def test_a_row_as_poisson_prior_is_never_one_of_features(D):
    X = np.random.default_rng(0).poisson(3, (20, D))
    options = {"lambdas_weight": 5.0, "random_state": 0, "n_iter": 2}
    model = PoissonHMM(2, lambdas_prior=[5.0, 50.0], **options).fit(X)
    table = PoissonHMM(2, lambdas_prior=[[5.0] * D, [50.0] * D], **options).fit(X)
    np.testing.assert_array_equal(model.lambdas_, table.lambdas_)
    with pytest.raises(ValueError, match=r"lambdas_prior has shape \(3,\), expected a number or an array that broad"):
        PoissonHMM(2, lambdas_prior=[5.0, 50.0, 1.0], **options).fit(X)


def test_poisson_priors_may_differ_by_state():
    model = PoissonHMM(2, lambdas_prior=[6.0, 60.0], lambdas_weight=3.0, random_state=0)
    model.fit(np.array([1, 2, 1, 30, 28, 31]), [3, 3], states=[0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(model.lambdas_, [[(6 + 4) / 6], [(60 + 89) / 6]])
    assert np.diff(model.monitor_.history).min() > -1e-9
    for shape in ([[6.0], [60.0]], pandas.Series([6.0, 60.0])):
        same = PoissonHMM(2, lambdas_prior=shape, lambdas_weight=3.0, random_state=0)
        same.fit(np.array([1, 2, 1, 30, 28, 31]), [3, 3], states=[0, 0, 0, 1, 1, 1])
        np.testing.assert_array_equal(same.lambdas_, model.lambdas_)


OPTIONS = {
    "n_components": [None, 0, -5, 1.5, math.nan, "2", True],
    "n_iter": [None, -5, 1.5, math.nan, "2", True],
    "n_init": [None, 0, -5, 1.5, math.nan, "2"],
    "tol": [None, math.nan, math.inf, "1", 1j],
    "algorithm": [None, "best", 3],
    "init": [None, "zero", 3],
    "implementation": [None, "fast", 3],
    "verbose": [None, "yes", 1.5],
    "progress": [None, "yes", 1.5],
    "params": ["z", "sz", 3, ["s"]],
    "init_params": ["z", "sz", 3, ["s"]],
    "random_state": ["a", -1, 1.5],
}


@pytest.mark.parametrize("family", ["categorical", "poisson", "gaussian diag", "gmm full"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_cannot_be_are_named_at_learning_and_at_scoring(family, name):
    X = observations(make(family, 2, np.random.default_rng(0)), 6, np.random.default_rng(1), missing=False)
    for value in OPTIONS[name]:
        model = make(family, 2, np.random.default_rng(0)).set_params(**{name: value})
        for call in (model.fit, model.score, model.decode):
            with pytest.raises((TypeError, ValueError), match=name):
                call(X)


def test_no_steps_are_a_beginning():
    model = GaussianHMM(2, n_iter=0, random_state=0).fit([0.0, 0.5, 9.0, 9.5])
    assert model.monitor_.iter == 0 and len(model.monitor_.history) == 1
    np.testing.assert_allclose(np.sort(model.means_[:, 0]), [0.25, 9.25])
    assert model.monitor_.history == [pytest.approx(model.score([0.0, 0.5, 9.0, 9.5]))]


def test_what_is_not_there_is_set_whatever_init_params_says():
    X = [0.0, 0.5, 9.0, 9.5, 0.2, 9.1]
    model = GaussianHMM(2, init_params="", random_state=0, n_iter=3)
    model.means_ = [[0.0], [9.0]]
    model.fit(X)
    np.testing.assert_allclose(model.means_[:, 0], [np.mean([0.0, 0.5, 0.2]), np.mean([9.0, 9.5, 9.1])], atol=0.05)
    assert CategoricalHMM(2, init_params="s", random_state=0, n_iter=1).fit([0, 1, 1]).emissionprob_.shape == (2, 2)


def test_known_states_begin_only_what_init_params_asks_for():
    X, states = np.array([0.0, 0.5, 9.0, 9.5]), [1, -1, 0, -1]
    given = GaussianHMM(2, init_params="", n_iter=0)
    given.startprob_, given.transmat_ = [0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]
    given.means_, given.covars_ = [[1.0], [2.0]], [[3.0], [4.0]]
    given.fit(X, states=states)
    assert given.means_.tolist() == [[1.0], [2.0]] and given.covars_.tolist() == [[3.0], [4.0]]
    begun = given.set_params(init_params="m").fit(X, states=states)
    assert begun.means_[0, 0] > begun.means_[1, 0] and begun.covars_.tolist() == [[3.0], [4.0]]


def test_tol_is_the_gain_of_the_objective_and_verbose_writes_each_step(capsys):
    X = np.random.default_rng(0).integers(0, 3, 80)
    model = CategoricalHMM(2, random_state=0, tol=0.01, n_iter=500, verbose=True).fit(X)
    gains = np.diff(model.monitor_.history)
    assert gains[-1] < 0.01 and (gains[:-1] >= 0.01).all()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(model.monitor_.history)
    assert lines[0].split() == ["0", f"{model.monitor_.history[0]:.8f}", "+nan"]
    assert float(lines[-1].split()[2]) == pytest.approx(gains[-1], abs=1e-7)


def test_a_monitor_with_another_rule_decides():
    class Threshold(ConvergenceMonitor):
        @property
        def converged(self):
            return self.history[-1] >= self.tol

    X = np.random.default_rng(0).integers(0, 3, 80)
    model = CategoricalHMM(2, random_state=0, n_iter=50)
    assert model.monitor_.n_iter == 50 and model.monitor_.history == []
    model.monitor_ = before = Threshold(-1e9, model.monitor_.n_iter, model.monitor_.verbose)
    model.fit(X)
    assert type(model.monitor_) is Threshold and model.monitor_.iter == 0 and before.history == []


def test_what_was_set_by_hand_and_is_overwritten_is_logged_once(caplog):
    model = CategoricalHMM(2, n_iter=1, random_state=0)
    model.startprob_ = [0.5, 0.5]
    model.fit([0, 1, 1]).fit([0, 1, 1])
    assert [record.getMessage() for record in caplog.records] == [
        "startprob_ will be overwritten, since init_params holds their letters"
    ]


def test_no_density_that_is_no_number_leaves_a_call():
    from rnnscratch.hmm import BaseHMM, Emission

    class Broken(Emission):
        letters = {"m": "means_"}

        def log_density(self, X):
            return np.full((2, len(X)), np.nan)

    class BrokenHMM(BaseHMM):
        emission = Broken

    model = BrokenHMM(2)
    model.startprob_, model.transmat_, model.means_ = [0.5, 0.5], [[0.5, 0.5]] * 2, [1.0, 2.0]
    for call in (model.score, model.decode, model.predict_proba, model.filter):
        with pytest.raises(ValueError, match="the density of row 0 of X is no number"):
            call([1.0, 2.0])


def test_a_classifier_takes_lists_of_sequences_in_any_container():
    rng = np.random.default_rng(1)
    X = [rng.normal(k % 2, 1, (20, 2)) for k in range(20)]
    y = np.array([k % 2 for k in range(20)], np.uint8)
    clf = HMMClassifier(GaussianHMM(1)).fit(X, y)
    assert clf.classes_.dtype == np.uint8 and clf.predict(X).dtype == np.uint8
    expected = clf.predict_proba(X)
    stacked = np.stack(X)
    for same in (stacked, iter(X), stacked.tolist(), [pandas.DataFrame(x) for x in X], tensor(stacked)):
        np.testing.assert_array_equal(clf.predict_proba(same), expected)
    for labels in (pandas.Series(y, index=y), tensor(y), y.tolist(), pandas.Series(y, dtype="Int64")):
        assert HMMClassifier(GaussianHMM(1)).fit(X, labels).score(X, labels) == 1.0
    with pytest.raises(TypeError, match="y holds '0' and the model's classes 0"):
        clf.score(X, [str(label) for label in y])
    with pytest.raises(TypeError, match=r"y\[0\] is 'yes' and y\[1\] is 1"):
        clf.fit(X[:2], ["yes", 1])
    with pytest.raises(ValueError, match=r"X\[1\] has 3 features, X\[0\] has 2"):
        clf.fit([X[0], np.zeros((4, 3))], [0, 1])
    with pytest.raises(TypeError, match="model is 'gaussian'"):
        HMMClassifier("gaussian").fit(X, y)
    words = pandas.Series(["aab", "bba"] * 4, index=[1] * 8)
    assert HMMClassifier(CategoricalHMM(1)).fit(words, list("xy") * 4).predict(["aaaab"]).tolist() == ["x"]
    singles = HMMClassifier(CategoricalHMM(1, emissionprob_prior=2.0, transmat_prior=2.0)).fit(
        [[0], [1]] * 3, [0, 1] * 3
    )
    assert singles.predict([[0], [1], [0]]).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "sequences",
    [
        ["ab", "ba"],
        [["a", "b"], ["b", "a"]],
        (list(text) for text in ("ab", "ba")),
        np.array([["a", "b"], ["b", "a"]]),
        pandas.Series(["ab", "ba"], index=[3, 3]),
        [pandas.Series(["a", "b"]), np.array(["b", "a"])],
    ],
    ids=lambda X: type(X).__name__,
)
def test_a_chain_takes_lists_of_sequences_in_any_container(sequences):
    chain = MarkovChain().fit(sequences)
    assert chain.vocabulary_ == ["a", "b"] and chain.transmat_.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ({"a": [0, 1]}, "sequences is dict"),
        ([0, 1, 1], r"sequences\[0\] is 0"),
        ([[0, 1], ["a"]], r"sequences\[1\] holds strings"),
        ([[0, None]], r"sequences\[0\]\[1\] is missing"),
        ([["a", None]], r"sequences\[0\]\[1\] is missing"),
        ([[0, 1j]], r"sequences\[0\] has dtype complex128"),
        ([[0, math.nan]], r"sequences\[0\] has dtype float64"),
        (np.zeros((1, 2, 2), int), r"sequences\[0\] has shape \(2, 2\)"),
    ],
)
def test_what_cannot_be_sequences_of_states_is_named(sequences, words):
    with pytest.raises((TypeError, ValueError), match=words):
        MarkovChain().fit(sequences)


def test_single_precision_chains_work():
    chain = MarkovChain()
    chain.startprob_, chain.transmat_ = np.float32([0.1, 0.9]), np.float32([[0.1, 0.9], [0.3, 0.7]])
    assert chain.stationary().sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy has variable-width strings from 2.0 on")
def test_strings_of_variable_width_are_strings():
    X = np.array(list("ACGTACGGT"), dtype=np.dtypes.StringDType())
    model = CategoricalHMM(2, random_state=0, n_iter=2).fit(X)
    assert model.vocabulary_ == list("ACGT")
    assert model.score(X) == model.score(list("ACGTACGGT"))


def test_update_takes_the_belief_of_one_sequence():
    model = CategoricalHMM(2, random_state=0).fit([0, 1, 1, 0, 1])
    with pytest.raises(ValueError, match=r"belief has shape \(2, 2\), expected \(2,\)"):
        model.update([[0.5, 0.5], [0.9, 0.1]], 0)


def test_beliefs_about_far_times_are_those_of_the_stationary_chain():
    model = CategoricalHMM(2, random_state=0).fit([0, 1, 1, 0, 1])
    model.transmat_ = np.array([[0.7, 0.3], [0.1, 0.9]])
    for k in (200, 2**60):
        np.testing.assert_allclose(model.predict_next([[1.0, 0.0], [0.0, 1.0]], k), [[0.25, 0.75]] * 2, rtol=1e-12)


def test_an_empty_name_of_an_algorithm_is_refused():
    model = CategoricalHMM(2, random_state=0).fit([0, 1, 1, 0, 1])
    with pytest.raises(ValueError, match="algorithm is '', expected one of 'viterbi', 'map'"):
        model.decode([0, 1], algorithm="")


def test_an_empty_sequence_is_named():
    model = GaussianHMM(1).fit(np.arange(6.0).reshape(3, 2))
    for call in (model.fit, model.score):
        with pytest.raises(ValueError, match=r"^X is empty, expected at least one frame"):
            call(np.zeros((0, 2)))
        with pytest.raises(ValueError, match=r"^X\[1\] is empty, expected at least one frame"):
            call([np.zeros((2, 2)), np.zeros((0, 2))])


def test_counts_that_no_integer_holds_are_not_drawn():
    with pytest.raises(ValueError, match=r"lambdas_ holds 1\.5e\+20, too large"):
        PoissonHMM(1).fit([1e20, 2e20]).sample(2)


def test_a_bar_shows_the_objective_of_each_step(capsys):
    model = CategoricalHMM(2, random_state=0, n_iter=3, tol=0.0, progress=True).fit([0, 1, 0, 0, 1, 1, 1, 0])
    shown = capsys.readouterr().err
    assert "EM: 100%" in shown and f"objective={model.monitor_.history[-2]:.6g}" in shown
    assert CategoricalHMM(2, n_iter=1).fit([0, 1, 0]) and capsys.readouterr().err == ""
