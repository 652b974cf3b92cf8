"""The tests of long memory: right answers, right starts, exact gradients, runs that go on, and words that follow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cells import STEP

from rnnscratch import cli
from rnnscratch.experiments import memory, memory_report
from rnnscratch.experiments.memory import PROBLEMS, STARTS, Case, Outcome, Protocol, Reader, Settings, Start
from rnnscratch.kernels.activations import sigmoid
from rnnscratch.layers import LSTM


def draw(name, B=40, T=20, seed=0):
    return PROBLEMS[name].draw(np.random.default_rng(seed), B, T)


def test_the_sum_of_the_two_marked_numbers_is_asked_for():
    x, targets = draw("adding")
    assert x.shape == (20, 40, 2) and targets.shape == (1, 40)
    marks = x[:, :, 1]
    assert (marks[:10].sum(axis=0) == 1).all() and (marks[10:].sum(axis=0) == 1).all()
    np.testing.assert_allclose((x[:, :, 0] * marks).sum(axis=0), targets[0], rtol=1e-6)
    errors = ((draw("adding", 20_000).targets - 1) ** 2).mean()
    assert errors == pytest.approx(PROBLEMS["adding"].chance, rel=0.03)


@pytest.mark.parametrize(("name", "copied"), [("copying", 3), ("copying 10", 10)])
def test_the_symbols_are_asked_for_after_the_signal(name, copied):
    x, targets = draw(name, T=15)
    ids = x.argmax(axis=2)
    assert (x.sum(axis=2) == 1).all() and x.shape == (15 + 2 * copied, 40, 10)
    np.testing.assert_array_equal(ids[:copied], targets)
    assert (ids[copied : copied + 14] == 8).all() and (ids[copied + 14] == 9).all() and (ids[copied + 15 :] == 8).all()
    assert len(ids) - (copied + 15) == copied  # the last `copied` steps come after the signal
    assert set(np.unique(targets)) == set(range(8))


def test_two_marks_in_their_order_are_asked_for():
    x, targets = draw("temporal order", B=400, T=50)
    ids = x.argmax(axis=2)
    for b in range(400):
        places = np.flatnonzero(ids[:, b] < 2)
        assert len(places) == 2 and 5 <= places[0] < 10 and 25 <= places[1] < 30
        first, second = ids[places, b]
        assert targets[0, b] == 2 * first + second
    assert set(np.unique(targets)) == {0, 1, 2, 3} and set(np.unique(ids)) == set(range(6))


def test_the_class_of_latching_is_in_the_first_three_steps():
    x, targets = draw("latching", B=2000)
    assert ((x[:3, :, 0].mean(axis=0) > 0) == targets[0]).all()
    rest = x[3:, :, 0]
    assert rest.std() == pytest.approx(0.2, rel=0.02)
    assert abs(rest[:, targets[0] == 1].mean() - rest[:, targets[0] == 0].mean()) < 0.01


def test_parity_is_that_of_the_ones():
    x, targets = draw("parity", T=7)
    np.testing.assert_array_equal((x[:, :, 0] > 0).sum(axis=0) % 2, targets[0])
    assert set(np.unique(x)) == {-1, 1}


def test_streams_are_new_at_every_pass_and_the_seed_fixes_them():
    first, again = (memory.Stream(PROBLEMS["adding"], 9, 4, 3, 5) for _ in range(2))
    passes = [[batch.x for batch in stream] for stream in (first, first, again)]
    assert np.array_equal(passes[0], passes[2]) and not np.array_equal(passes[0], passes[1])
    assert len(first) == 3 and next(iter(first)).lengths.tolist() == [9] * 4


def test_starts_are_what_they_are_called():
    def layer(start):
        return start.layer(3, 40, 100, 0)

    limit = math.sqrt(6 / 80)
    U = layer(STARTS["tanh RNN, Glorot"]).params["U_l0"]
    assert limit * 0.95 < np.abs(U).max() <= limit
    U = layer(STARTS["tanh RNN, orthogonal"]).params["U_l0"]
    np.testing.assert_allclose(U @ U.T, np.eye(40), atol=1e-5)
    relu = layer(STARTS["ReLU RNN, identity"])
    np.testing.assert_array_equal(relu.params["U_l0"], np.eye(40))
    assert relu.activation == "relu" and np.abs(relu.params["W_l0"]).max() < 0.01 and not relu.params["b_l0"].any()
    for name, value in (("LSTM, forget bias 0", 0), ("LSTM, forget bias 1", 1)):
        lstm = layer(STARTS[name])
        assert (lstm.gate("b_l0", "f") == value).all() and not lstm.gate("b_l0", "i").any()
    lstm = layer(STARTS["LSTM, chrono"])
    f = lstm.gate("b_l0", "f")
    assert (f >= 0).all() and (f <= math.log(99)).all() and f.max() > math.log(80) and f.std() > 0.3
    np.testing.assert_array_equal(lstm.gate("b_l0", "i"), -f)
    assert not layer(STARTS["GRU, bias 0"]).params["b_l0"].any()
    z = layer(STARTS["GRU, chrono"]).gate("b_l0", "z")
    assert z.max() > math.log(80) and not layer(STARTS["GRU, chrono"]).gate("b_l0", "r").any()
    assert np.array_equal(lstm.params["b_l0"], layer(STARTS["LSTM, chrono"]).params["b_l0"])


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_of_the_reader_equal_the_complex_step(name):
    problem = PROBLEMS[name]
    model = Reader(problem, LSTM(problem.inputs, 4, dtype="complex128", seed=0))
    batch = draw(name, B=3, T=12)
    _, back, figures = model.batch_loss(batch, train=True)
    back()
    assert list(figures) == ["error"] and model.weight(batch) == batch.targets.size
    found = {key: gradient.copy() for key, gradient in model.grads.items()}
    assert found.keys() == model.params.keys()
    for key, array in model.params.items():
        direction = np.random.default_rng(1).standard_normal(array.shape)
        kept = array.copy()
        array += 1j * STEP * direction
        right = model.batch_loss(batch)[0].imag / STEP
        array[...] = kept
        assert abs((found[key].real * direction).sum() - right) < 1e-12 * max(1.0, abs(found[key]).max()), key


def test_truncated_gradients_go_back_so_many_steps():
    problem = PROBLEMS["latching"]
    whole, cut = (Reader(problem, LSTM(1, 4, dtype="float64", seed=0), truncate) for truncate in (None, 5))
    batch = draw("latching", B=3, T=12)
    for model in (whole, cut):
        model.batch_loss(batch)[1]()
    hs, _ = cut.recurrent.forward(batch.x.astype(float))
    dhs = np.zeros(hs.shape)
    dhs[-1] = 1
    cut.recurrent.backward(dhs, None, 5)
    truncated = {key: gradient.copy() for key, gradient in cut.recurrent.grads.items()}
    cut.recurrent.backward(dhs)
    assert any(not np.allclose(truncated[key], gradient) for key, gradient in cut.recurrent.grads.items())
    assert not np.allclose(whole.grads["recurrent.U_l0"], cut.grads["recurrent.U_l0"])


def test_openness_is_the_mean_of_the_gates():
    for name, letters in (("LSTM, chrono", "ifo"), ("GRU, bias 0", "rz")):
        problem = PROBLEMS["parity"]
        model = Reader(problem, STARTS[name].layer(1, 5, 9, 0))
        layer, x = model.recurrent, draw("parity", B=6, T=9).x
        found = memory.openness(model, x)
        assert "".join(found) == letters
        state, sums = None, dict.fromkeys(letters, 0.0)
        for t in range(9):
            h = np.zeros((6, 5)) if state is None else (state[0] if isinstance(state, tuple) else state)[0]
            for gate in letters:
                z = x[t] @ layer.gate("W_l0", gate) + h @ layer.gate("U_l0", gate) + layer.gate("b_l0", gate)
                sums[gate] += sigmoid(z).mean() / 9
            _, state = layer.step(x[t], state)
        for gate in letters:
            assert found[gate] == pytest.approx(sums[gate], rel=1e-5)
    assert memory.openness(Reader(problem, Start("rnn").layer(1, 5, 9, 0)), x) == {}


def test_a_run_ends_when_the_problem_is_solved_twice_in_a_row():
    protocol = Protocol(hidden=16, updates=400, every=20, learning_rate=0.02, tests=256)
    outcome = memory.run(PROBLEMS["latching"], Start("lstm", bias="chrono"), 8, protocol, seed=1)
    errors = dict(outcome.curve)
    assert outcome.solved_at is not None and errors[outcome.solved_at] <= 0.01 and outcome.error <= 0.01
    assert [errors[k] <= 0.01 for k in sorted(errors)][-2:] == [True, True]
    assert max(errors) == outcome.solved_at + 20 < 400 and all(k % 20 == 0 for k in errors)
    assert set(outcome.reach) >= {"at the start", "at the end"} and outcome.reach["at the start"].shape == (8,)
    assert outcome.reach["at the start"][0] == 1.0
    hopeless = memory.run(PROBLEMS["parity"], Start("rnn"), 30, Protocol(hidden=4, updates=40, every=20), seed=1)
    assert hopeless.solved_at is None and max(dict(hopeless.curve)) == 40


def test_a_run_that_bursts_is_not_solved():
    protocol = Protocol(hidden=8, updates=100, every=20, learning_rate=1e6)
    outcome = memory.run(PROBLEMS["adding"], Start("rnn", "identity", clip_norm=None), 20, protocol, seed=1)
    assert outcome.solved_at is None and math.isnan(outcome.error) and "at the end" not in outcome.reach


SMALL = Settings(problems=("latching",), seeds=2, hidden=6, batch_size=8, lengths=(4, 6), updates=0.1, workers=1)


def test_runs_side_by_side_are_the_same_and_one_that_was_stopped_goes_on(tmp_path, monkeypatch):
    first = memory.run_all(SMALL, tmp_path / "one", progress=False)
    assert list(first) == SMALL.cases() and {case.T for case in first} == {4, 6}
    two = memory.run_all(Settings(**{**vars(SMALL), "workers": 2}), tmp_path / "two", progress=False)
    for case, outcomes in first.items():
        assert [o.curve for o in outcomes] == [o.curve for o in two[case]]
    calls = []
    right = memory.run_case
    monkeypatch.setattr(memory, "run_case", lambda each: calls.append(each) or right(each))
    gone = sorted((tmp_path / "one").glob("*.json"))[:3]
    for path in gone:
        path.unlink()
    again = memory.run_all(SMALL, tmp_path / "one", resume=True, progress=False)
    assert len(calls) == 3
    for case, outcomes in first.items():
        for old, new in zip(outcomes, again[case]):
            assert old.curve == new.curve and old.solved_at == new.solved_at and old.gates == new.gates
            for moment, norms in old.reach.items():
                np.testing.assert_array_equal(norms, new.reach[moment])
    other = Settings(**{**vars(SMALL), "hidden": 7})
    with pytest.raises(ValueError, match=r"\.json holds no outcome of this run: it is of another run"):
        memory.run_all(other, tmp_path / "one", resume=True, progress=False)
    gone[0].write_text("{}")
    with pytest.raises(ValueError, match=r"\.json holds no outcome of this run"):
        memory.run_all(SMALL, tmp_path / "one", resume=True, progress=False)


def outcome(solved_at, error=0.0, reach=1e-2, f=0.5):
    norms = np.array([1.0, reach])
    moments = ("at the start", "while it learns", "at the end")
    gates = {moment: {"i": 0.5, "f": f, "o": 0.5, "r": 0.5, "z": f} for moment in moments}
    curve = [(0, 0.5), (100, error)]
    return Outcome(solved_at, error, curve, dict.fromkeys(moments, norms), gates, 1.0)


def made(solvers, problem="latching", T=10, reach=None):
    """Runs of two seeds in which these starts solve the problem after so many updates."""
    found = {}
    for name in STARTS:
        updates = solvers.get(name)
        far = (reach or {}).get(name, 1e-9)
        each = outcome(updates, 0.0 if updates else 0.5, far, 0.9 if "chrono" in name else 0.5)
        found[Case(problem, name, T, Protocol())] = [each, each]
    return found


def test_words_say_who_solves_what_and_whether_gates_are_needed():
    gated = {"LSTM, chrono": 300, "GRU, chrono": 100}
    words = " ".join(memory_report.in_words(made(gated)))
    assert "Latching, T = 10: every seed is solved by LSTM, chrono (after 300 updates, in the median) and GRU" in words
    assert "Here gates make it learnable: no vanilla RNN solves it" in words
    words = " ".join(memory_report.in_words(made({**gated, "tanh RNN, orthogonal": 200})))
    assert (
        "Here a vanilla RNN does as well: tanh RNN, orthogonal needs 200 updates, the fastest gated one, GRU" in words
    )
    assert "Here gates make it learnable" not in words
    words = " ".join(memory_report.in_words(made({"ReLU RNN, identity": 50})))
    assert "Here a vanilla RNN, ReLU RNN, identity, does what no gated cell did in all seeds." in words
    runs = made(gated)
    case = next(case for case in runs if case.start == "GRU, chrono")
    runs[case] = [runs[case][0], outcome(None, 0.4)]
    assert "some seeds by GRU, chrono (1 of 2)" in " ".join(memory_report.in_words(runs))
    assert "every seed is solved by none" in " ".join(memory_report.in_words(made({})))


def test_words_say_what_gradients_and_gates_are_worth():
    reach = {"LSTM, chrono": 0.1, "GRU, chrono": 0.1}
    words = " ".join(memory_report.in_words(made({"LSTM, chrono": 300, "GRU, bias 0": 100}, reach=reach)))
    assert "before any learning, 50% of the runs end solved (2 starts and problems), where less is left 17% (6" in words
    assert (
        "The forget gate of the LSTM, all problems together. At the start 0.50 open (LSTM, forget bias 0) 0 of 2 runs; "
        "0.50 open (LSTM, forget bias 1) 0 of 2 runs; 0.90 open (LSTM, chrono) 2 of 2 runs end solved." in words
    )


def test_the_page_holds_tables_pictures_and_words(tmp_path):
    runs = {**made({"LSTM, chrono": 300}, T=10), **made({"LSTM, chrono": 600}, T=30)}
    memory_report.write_report(tmp_path / "report.html", SMALL, runs)
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Latching, T = 10</h2>" in page and "<h2>Latching, T = 30</h2>" in page
    assert "<td>LSTM, chrono<td>2 of 2<td>600<td>19,200" in page
    assert page.count("data:image/png;base64,") == 6  # five of the longest, one against T
    assert "Learning rates, each the best of a few" in page


def test_the_command_runs_it_and_goes_on(tmp_path, capsys):
    arguments = ["memory", "--problems", "latching", "--seeds", "1", "--hidden", "4", "--batch-size", "4"]
    arguments += ["--lengths", "4", "5", "--updates", "0.05", "--workers", "1", "--out", str(tmp_path / "run")]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "latching, T = 4" in printed and "report.html" in printed and (tmp_path / "run" / "report.html").exists()
    assert cli.main([*arguments, "--resume"]) == 0
    assert cli.main([*arguments[:-2], "--seeds", "0"]) == 2
    assert "rnnscratch memory: seeds is 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problems": ("x",)}, "problems is 'x'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"adding": 3}, "adding is 3"),
        ({"order": 9}, "order is 9"),
        ({"lengths": (10, 2)}, r"lengths\[1\] is 2"),
        ({"updates": 0.0}, "updates is 0.0"),
        ({"workers": 1.5}, "workers is 1.5"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Settings(**change).check()


def test_the_full_report_has_ten_symbols_and_longer_sequences():
    cases = {(case.problem, case.T) for case in Settings(full=True).cases()}
    assert cases >= {("copying 10", 100), ("adding", 500), ("parity", 20), ("latching", 500)}
    usual, full = (max(case.protocol.updates for case in Settings(full=f).cases()) for f in (False, True))
    assert usual == 4000 and full == 100_000
