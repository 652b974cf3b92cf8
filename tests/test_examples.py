"""The examples run, and find what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_casino_is_found_out(tmp_path, capsys):
    learned = load("casino").main(["--out", str(tmp_path / "new"), "--sequences", "40", "--starts", "3"])
    np.testing.assert_allclose(learned.transmat_, [[0.95, 0.05], [0.1, 0.9]], atol=0.04)
    np.testing.assert_allclose(learned.emissionprob_[1], [0.1] * 5 + [0.5], atol=0.06)
    printed = capsys.readouterr().out
    assert "82.0% of the dice right" in printed and "loaded die shows a six" in printed
    pictures = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert pictures == ["learning.png", "posterior.png", "strips.png", "transitions.png"]


def test_the_hybrid_sees_nothing_that_is_yet_to_come():
    example = load("hmm_lstm")
    rng = np.random.default_rng(0)
    x = example.make_series(60, 8, rng)
    hmm = example.rs.hmm.GaussianHMM(3, "full", random_state=0, n_iter=20).fit(example.frames(x))
    whole = example.beliefs(hmm, x)
    np.testing.assert_allclose(example.beliefs(hmm, x[:40]), whole[:40], rtol=1e-9)
    np.testing.assert_allclose(example.hmm_forecast(hmm, x[:40]), example.hmm_forecast(hmm, x)[:40], rtol=1e-9)
    assert np.abs(example.hmm_forecast(hmm, x)[:-1] - x[1:]).mean() < np.abs(x).mean()


def test_the_hybrid_is_compared_on_equal_terms(capsys):
    found = load("hmm_lstm").main(["--seeds", "2", "--counts", "40", "--length", "60", "--updates", "200"])[40]
    assert found.keys() == {"always 0", "HMM", "LSTM", "HMM + LSTM"}
    for errors in found.values():
        assert len(errors) == 2
    for name in ("HMM", "LSTM", "HMM + LSTM"):
        assert (found[name] < found["always 0"]).all()
    assert "The HMM's view" in capsys.readouterr().out
