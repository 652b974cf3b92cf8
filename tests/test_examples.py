"""The examples run, and find what they promise."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import rnnscratch.checkpoints
import rnnscratch.experiments.results
import rnnscratch.experiments.translation
import rnnscratch.training
from rnnscratch import files

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_casino_is_found_out(tmp_path, capsys):
    learned = load("casino").main(["--out", str(tmp_path / "new"), "--sequences", "40", "--starts", "3"])
    np.testing.assert_allclose(learned.transmat_, [[0.95, 0.05], [0.1, 0.9]], atol=0.04)
    np.testing.assert_allclose(learned.emissionprob_[0], [1 / 6] * 6, atol=0.06)
    np.testing.assert_allclose(learned.emissionprob_[1], [0.1] * 5 + [0.5], atol=0.06)
    printed = capsys.readouterr().out
    assert f"loaded die shows a six    0.500 {learned.emissionprob_[1, 5]:8.3f}" in printed
    given, found = map(float, re.search(r"log-likelihood +(\S+) +(\S+)", printed).groups())
    assert found > given  # the highest likelihood lies above that of the truth
    pictures = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert pictures == ["learning.png", "posterior.png", "strips.png", "transitions.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in (tmp_path / "new").iterdir())


def test_each_decoder_of_the_casino_is_best_at_its_own_aim(tmp_path, capsys):
    module = load("casino")
    module.main(["--out", str(tmp_path), "--sequences", "2", "--starts", "1"])
    viterbi, posterior = re.findall(r"(\S+)% of the dice right, log p\(path, rolls\) (\S+)", capsys.readouterr().out)
    assert float(viterbi[1]) > float(posterior[1])  # the most probable path
    _, dice = module.casino().sample(300, random_state=np.random.default_rng(0))
    chance = 100 * max(np.mean(dice == 0), np.mean(dice == 1))
    assert chance < float(viterbi[0]) < float(posterior[0]) < 100


def test_the_hybrid_sees_nothing_that_is_yet_to_come():
    example = load("hmm_lstm")
    rng = np.random.default_rng(0)
    x = example.make_series(60, 8, rng)
    hmm = example.rs.hmm.GaussianHMM(3, "full", random_state=0, n_iter=20).fit(example.frames(x))
    whole = example.beliefs(hmm, x)
    np.testing.assert_allclose(example.beliefs(hmm, x[:40]), whole[:40], rtol=1e-9)
    np.testing.assert_allclose(example.hmm_forecast(hmm, x[:40]), example.hmm_forecast(hmm, x)[:40], rtol=1e-9)
    assert np.abs(example.hmm_forecast(hmm, x)[:-1] - x[1:]).mean() < np.abs(x).mean()


def test_the_forecast_of_the_hmm_is_the_regression_of_its_states():
    example = load("hmm_lstm")
    x = example.make_series(50, 4, np.random.default_rng(1))
    hmm = example.rs.hmm.GaussianHMM(1, "full", min_covar=1e-12).fit(example.frames(x))
    now, *before = example.frames(x).reshape(-1, 3).T  # with one state: least squares, with a constant
    weights = np.linalg.lstsq(np.stack([np.ones_like(now), *before], axis=1), now, rcond=None)[0]
    last = np.stack([np.ones_like(x[1:]), x[1:], x[:-1]], axis=-1)
    np.testing.assert_allclose(example.hmm_forecast(hmm, x)[1:], last @ weights, rtol=1e-6)


def test_the_lstm_keeps_the_weights_of_its_best_epoch():
    example = load("hmm_lstm")
    x = example.make_series(20, 4, np.random.default_rng(2)).astype("float32")[..., None]
    inputs, target = x[:-1], x[1:]

    def error(sign, epochs):  # judged on the same inputs, but for sign * target
        data = {"train": (inputs, target), "choose": (inputs, sign * target)}
        return example.mean_squared(example.train_lstm(data, epochs, 17, seed=0).forward(inputs) - sign * target)

    assert error(1, 100) < 0.8 * error(1, 1)
    assert error(-1, 100) <= error(-1, 1)  # all that it learns after the first epoch is wrong, and forgotten


def test_the_hybrid_is_compared_on_equal_terms(capsys):
    found = load("hmm_lstm").main(["--quick"])[40]
    assert found.keys() == {"always 0", "HMM", "LSTM", "HMM + LSTM"}
    printed = capsys.readouterr().out
    for name, errors in found.items():
        assert len(errors) == 2 and (errors > 0.3).all()  # less than the noise itself would be a leak
        assert re.search(rf"^ +{re.escape(name)}  {errors.mean():.4f} ± {errors.std(ddof=1):.4f}$", printed, re.M)
        assert name == "always 0" or (errors < 0.7 * found["always 0"]).all()
    assert printed.count("too few seeds to tell") == 2


def test_the_answer_in_words_follows_from_the_figures():
    in_words = load("hmm_lstm").in_words
    alone, noise = np.array([1.0, 1.1, 0.9]), np.array([0.01, -0.01, 0.0])
    assert in_words(0.8 * alone + noise, alone).startswith("-20.0%, lower (-0.2000 ± ")
    assert in_words(1.2 * alone + noise, alone).startswith("+20.0%, higher (+0.2000 ± ")
    assert in_words(alone + noise, alone).startswith("+0.0%, no sure difference")
    assert in_words(alone[:2] / 2, alone[:2]) == "-50.0% (too few seeds to tell)"


def test_a_model_of_ones_own_learns_its_ring(capsys):
    history = load("own_model").main()
    assert max(history["validation_accuracy"]) > 0.95
    assert "validation_accuracy" in capsys.readouterr().out


TEXT = "the quick brown fox jumps over the lazy dog. " * 30


def char_lm(*arguments):
    small = ["--hidden", "12", "--batch-size", "4", "--window", "16", "--length", "20", "--quiet", "--dropout", "0"]
    return load("char_lm").main([*small, *map(str, arguments)])


def test_the_language_model_learns_a_text_shows_samples_and_writes_on(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    where = ["--text", tmp_path / "text.txt", "--out", tmp_path / "out"]
    char_lm(*where, "--epochs", 8, "--learning-rate", 0.03)
    printed = capsys.readouterr().out
    perplexities = [float(found) for found in re.findall(r"--- epoch \d, perplexity (\S+)\n.+", printed)]
    assert len(perplexities) == 8 and perplexities[-1] < 2 < perplexities[0]
    char_lm("--out", tmp_path / "out", "--generate", "the quick br", "--temperature", 0)
    assert capsys.readouterr().out.startswith("the quick brown fox ")


def test_the_language_model_goes_on_where_it_was_stopped(tmp_path, capsys, monkeypatch):
    (tmp_path / "text.txt").write_text(TEXT)
    options = ["--text", tmp_path / "text.txt", "--words", "--epochs", 3]
    whole = char_lm(*options, "--out", tmp_path / "whole")
    fit = rnnscratch.training.fit

    def stop_after_one(*args, callbacks, **options):
        def stop(model, row):
            raise KeyboardInterrupt

        return fit(*args, callbacks=[*callbacks, stop], **options)

    with monkeypatch.context() as patch:
        patch.setattr(rnnscratch.training, "fit", stop_after_one)
        with pytest.raises(SystemExit, match="interrupted after 1 of 3 epochs"):
            char_lm(*options, "--out", tmp_path / "part")
    again = char_lm(*options, "--out", tmp_path / "part", "--resume")
    for name, array in whole.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    assert (tmp_path / "part" / "model.npz").exists() and "words, 9 different ones" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, words, number", [("", False, 0), ("word", True, 1), ("abc", False, 3), ("\n \n", True, 2)]
)
def test_a_text_with_nothing_to_learn_is_refused(text, words, number, tmp_path):
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(SystemExit, match=f"char_lm: the text has {number} (words|characters), expected at least 4"):
        char_lm("--text", tmp_path / "text.txt", "--out", tmp_path, *["--words"] * words)
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.parametrize("text", ["word " * 50, "a b " * 30, "word word word word"])
def test_the_smallest_texts_are_learnt(text, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(text)
    char_lm("--text", tmp_path / "text.txt", "--out", tmp_path, "--words", "--epochs", 2)
    assert "saved in" in capsys.readouterr().out


def test_a_full_disk_or_a_missing_file_is_said_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(TEXT)

    def full(*args, **options):
        raise OSError(28, "No space left on device", str(tmp_path / "checkpoint.npz"))

    with pytest.raises(SystemExit, match=r"char_lm: .*No such file or directory.*absent\.txt"):
        char_lm("--text", tmp_path / "absent.txt", "--out", tmp_path)
    with pytest.raises(SystemExit, match=r"char_lm: .*model\.npz"):
        char_lm("--out", tmp_path, "--generate", "the")
    monkeypatch.setattr(rnnscratch.checkpoints, "save_arrays", full)
    with pytest.raises(SystemExit, match="char_lm: .*No space left on device"):
        char_lm("--text", tmp_path / "text.txt", "--out", tmp_path)


def seq2seq(*arguments):
    small = ["--cells", "gru", "--attention", "none", "dot", "--hidden", "12", "--embedding", "6", "--quiet"]
    return load("seq2seq").main([*small, *map(str, arguments)])


def write_pairs(path):
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(400):
        words = rng.choice(["one", "two", "three"], rng.integers(1, 4))
        lines.append(" ".join(words) + "\t" + " ".join(word[::-1] for word in words))
    path.write_text("\n".join(dict.fromkeys(lines)) + "\n")


def test_the_encoder_decoder_learns_a_task_and_translates_with_the_best_model(tmp_path, capsys):
    out = ["--out", tmp_path / "out"]
    rows = seq2seq("--task", "reverse", "--train", 300, "--epochs", 1, *out)
    printed = capsys.readouterr().out
    assert [row["attention"] for row in rows] == [None, "dot"] and all(0 <= row["exact"] <= 1 for row in rows)
    assert "300 pairs to learn from, 1,000 to test, such as" in printed and "of 21 to 30 letters" in printed
    assert "expected" in printed  # errors
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"results.csv", "model.npz", "attention-gru-dot.png", "reverse-gru-dot.npz"} <= names
    seq2seq("--translate", "abc", *out)
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(SystemExit, match="--translate is empty"):
        seq2seq("--translate", "", *out)


def test_pairs_of_words_of_ones_own_are_learned_and_a_stopped_run_goes_on(tmp_path, capsys, monkeypatch):
    write_pairs(tmp_path / "my.tsv")
    options = ["--pairs", tmp_path / "my.tsv", "--words", "--epochs", 30, "--learning-rate", 0.02, "--batch-size", 4]
    whole = seq2seq(*options, "--out", tmp_path / "whole")
    assert whole[1]["exact"] > 0.5
    seq2seq("--translate", "one two", "--out", tmp_path / "whole")
    assert capsys.readouterr().out.splitlines()[-1] == "eno owt"
    seq2seq("--translate", "one four", "--out", tmp_path / "whole")
    assert "unknown to the model: four" in capsys.readouterr().out
    translate = rnnscratch.experiments.translation.translate

    def stop(model, words, pairs, beam):
        if model.attention is not None:
            raise KeyboardInterrupt
        return translate(model, words, pairs, beam)

    with monkeypatch.context() as patch:
        patch.setattr(rnnscratch.experiments.translation, "translate", stop)
        with pytest.raises(SystemExit, match="seq2seq: interrupted"):
            seq2seq(*options, "--out", tmp_path / "part")
    assert "gru       none" in capsys.readouterr().out
    again = seq2seq(*options, "--out", tmp_path / "part", "--resume")
    assert [row["exact"] for row in again] == [row["exact"] for row in whole]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "nowhere.tsv"], "No such file"),
        (["--hidden", "0"], "hidden is 0"),
        (["--translate", "x"], "model.npz"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_by_the_encoder_decoder(arguments, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        seq2seq(*arguments, "--out", tmp_path)


def test_the_memory_example_is_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["memory.py"])
    module = load("memory")
    arguments = [
        "memory",
        "--problems",
        "latching",
        "--lengths",
        "4",
        "--seeds",
        "1",
        "--hidden",
        "4",
        "--workers",
        "1",
    ]
    assert module.main([*arguments, "--updates", "0.02", "--out", str(tmp_path)]) == 0
    assert "latching, T = 4" in capsys.readouterr().out


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """An aclImdb of 120 reviews to learn from, in which one word tells the label."""
    root, rng = tmp_path_factory.mktemp("data") / "aclImdb", np.random.default_rng(0)
    for part, film in (("train", 0), ("test", 50)):
        for sign, telling in (("pos", "wonderful"), ("neg", "dreadful")):
            (root / part / sign).mkdir(parents=True)
            for k in range(60 if part == "train" else 20):
                words = [*rng.choice(["the", "film", "plot", "has", "actors"], 8), telling]
                (root / part / sign / f"{k}_{9 if sign == 'pos' else 2}.txt").write_text(
                    " ".join(rng.permutation(words))
                )
            films = [f"http://www.imdb.com/title/tt{film + k // 10:07d}/usercomments" for k in range(60)]
            (root / part / f"urls_{sign}.txt").write_text("\n".join(films))
    return root


def test_the_search_on_imdb_begins_with_the_defaults_goes_on_and_tests_once(reviews, tmp_path, capsys):
    pytest.importorskip("optuna", reason="optuna comes with the test extra")
    main = load("imdb_search").main
    options = [
        "--data",
        str(reviews),
        "--cells",
        "rnn",
        "gru",
        "--epochs",
        "2",
        "--quiet",
        "--out",
        str(tmp_path / "out"),
    ]
    found = main([*options, "--trials", "2"])
    printed = capsys.readouterr().out
    for cell, name in (("rnn", "vanilla RNN"), ("gru", "GRU")):
        default = found[cell][0]
        assert (default["hidden"], default["dropout"], default["learning_rate"]) == (48, 0.5, 0.002)
        said = re.search(
            rf"{name}: best of 2 trials is hidden (\S+), .* with (\S+)% of (\S+) validation .*: (\S+)%\.", printed
        )
        best = max(found[cell], key=lambda row: row["score"])
        assert said[1] == str(best["hidden"]) and float(said[2]) == pytest.approx(100 * best["score"], abs=0.01)
        assert float(said[4]) == pytest.approx(100 * default["score"], abs=0.01)
    assert len(re.findall(r"Tested once: \S+% of 40 test reviews", printed)) == 2
    outcomes = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/outcome.npz")}
    assert len(outcomes) == 2 and "Tested once" in (tmp_path / "out" / "search.html").read_text()
    for path in outcomes:  # trained once more, the chosen network is the one that was chosen
        row = rnnscratch.experiments.results.Outcome.load(path, path.parent.name.partition("-")[0], 0).row
        assert row["validation_accuracy"] == max(each["score"] for each in found[row["model"]])
    for row in json.loads((tmp_path / "out" / "results.json").read_text()):
        trials = found[row["cell"]]
        assert row["own"] == {name: trials[0][name] for name in row["own"]} and row["trials"] == 2
        assert row["best"] == {name: max(trials, key=lambda each: each["score"])[name] for name in row["own"]}
        assert row["test_size"] == 40 and f"Tested once: {row['accuracy']:.2%}" in printed
    again = main([*options, "--trials", "2", "--resume"])
    assert again == found and outcomes == {path: path.stat().st_mtime_ns for path in outcomes}
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit, match=r"imdb_search: .*search\.log holds a search already"):
        main([*options, "--trials", "2"])
    with pytest.raises(SystemExit, match=r"imdb_search: .*search\.log is that of another search: about is"):
        main([*options, "--trials", "2", "--epochs", "1", "--resume"])


@pytest.mark.parametrize("example", [char_lm, seq2seq], ids=["char_lm", "seq2seq"])
def test_a_folder_in_which_another_works_is_refused_before_any_work(example, tmp_path):
    with files.owned(tmp_path):
        with pytest.raises(SystemExit, match=r"is in use by process .*, or choose another folder with --out"):
            example("--out", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
