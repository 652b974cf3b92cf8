"""The command: two at once, an output that nobody reads, an interrupt at any time, no home folder."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnnscratch
from rnnscratch import cli
from rnnscratch.files import owned

ROOT = Path(rnnscratch.__file__).parents[1]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A data set of 160 reviews."""
    root = tmp_path_factory.mktemp("data") / "aclImdb"
    for part in ("train", "test"):
        for sign, word in (("pos", "good"), ("neg", "bad")):
            (root / part / sign).mkdir(parents=True)
            for k in range(40):
                (root / part / sign / f"{k}_7.txt").write_text(f"a {word} film of kind {k % 7} in part {part} {k}")
            (root / part / f"urls_{sign}.txt").write_text("\n".join(f"tt{sign}{part}{k // 4}" for k in range(40)))
    return root


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The folder of a classifier's file it.npz and of it.csv with 20 texts, all but two labelled as it does."""
    folder = tmp_path_factory.mktemp("judged")
    clf = rnnscratch.TextClassifier(cell="gru", epochs=20, learning_rate=0.05, validation_fraction=0.0, hidden_size=4)
    clf.fit(["good film", "bad film"] * 8, ["yes", "no"] * 8).save(folder / "it.npz")
    rows = [f"a good film,{'no' if k < 2 else 'yes'}" for k in range(10)] + ["a bad film,no"] * 10
    (folder / "it.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return folder


def command(*arguments, folder, first="pass", **options):
    """The command in a process of its own, before which it does something else."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    code = f"import sys; from rnnscratch.cli import main; {first}; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=folder, env=environment, **options)


def test_of_commands_that_start_at_once_each_has_its_own_folder(reviews, tmp_path):
    started = [command("imdb", "--data", reviews, "--models", "bow", folder=tmp_path) for _ in range(3)]
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    runs = tmp_path / "runs"
    assert sorted(folder.name for folder in runs.iterdir()) == ["imdb", "imdb-2", "imdb-3"]
    reports = {re.search("report: (.*)report", out)[1] for out, _ in said}
    assert len(reports) == 3 and all((folder / "report.html").exists() for folder in runs.iterdir())


def test_of_commands_that_ask_for_one_folder_at_once_one_gets_it(reviews, tmp_path):
    arguments = ["imdb", "--data", reviews, "--models", "bow", "--out", "mine"]
    started = [command(*arguments, folder=tmp_path) for _ in range(3)]
    said = [process.communicate() for process in started]
    assert sorted(process.returncode for process in started) == [0, 2, 2], said
    for process, (_, error) in zip(started, said):
        assert process.returncode == 0 or re.search("mine (is in use by process|holds a run already)", error)
    assert (tmp_path / "mine" / "report.html").exists() and not (tmp_path / "mine" / ".lock").exists()


RUNS = {
    "imdb": ["--models", "rnn", "--epochs", "1000", "--workers", "3"],
    "memory": ["--problems", "parity", "--seeds", "50", "--workers", "2"],
}


def children(process):
    """The processes that it has started."""
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_s_folder_is_its_own_until_it_is_killed_also_where_its_workers_live_on(name, reviews, tmp_path):
    arguments = [name, *RUNS[name], *(["--data", reviews] if name == "imdb" else []), "--out", "mine"]
    owner = command(*arguments, folder=tmp_path)
    deadline = time.monotonic() + 60
    workers = []
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        workers = [pid for pid in children(owner) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2, owner.poll()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # so that they cannot see that it ends, and end too
    try:
        content = sorted(path.name for path in (tmp_path / "mine").iterdir())
        second = command(*arguments, "--resume", folder=tmp_path)
        _, error = second.communicate()
        said = (
            rf"rnnscratch {name}: .*mine is in use by process {owner.pid} on .* since 20.* \(.*{name} .*\): wait until "
        )
        assert second.returncode == 2 and re.search(
            said + "that has ended, or choose another folder with --out\n", error
        )
        assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == content and ".lock" in content
        owner.kill()
        owner.wait()
        third = command(*arguments, "--resume", folder=tmp_path)
        while f'"process": {third.pid},' not in (tmp_path / "mine" / ".lock").read_text():
            assert third.poll() is None, third.communicate()
            time.sleep(0.05)
        third.send_signal(signal.SIGINT)
        third.communicate()
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        owner.kill()
        owner.communicate()
    with owned(tmp_path / "mine"):
        pass


@pytest.mark.parametrize("unbuffered", ["1", ""])
@pytest.mark.parametrize("both", [False, True])
def test_an_output_that_nobody_reads_to_its_end_ends_no_run(both, unbuffered, reviews, tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    streams = {"stdout": theirs, "stderr": theirs if both else subprocess.PIPE, "env": {"PYTHONUNBUFFERED": unbuffered}}
    process = command("imdb", "--data", reviews, "--models", "bow", "rnn", "--epochs", "1", folder=tmp_path, **streams)
    os.close(theirs)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert (tmp_path / "runs" / "imdb" / "report.html").exists()
    assert both or ("Broken" not in error and "Traceback" not in error)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_an_interrupt_shows_no_traceback(moment, reviews, tmp_path):
    first = (
        "from rnnscratch import cli; run = cli.command; cli.command = lambda a: print('begun', flush=True) or run(a)"
    )
    process = command("imdb", "--data", reviews, "--epochs", "500", folder=tmp_path, first=first)
    assert process.stdout.readline() == "begun\n"
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert "stopped" in error and "Traceback" not in error, error


def test_an_interrupt_while_the_libraries_load_is_told_in_a_line(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", interrupt)
    assert cli.main(["imdb"]) == 130
    assert capsys.readouterr().err == "\nrnnscratch: stopped before the work began\n"


def test_an_interrupt_waits_until_the_libraries_are_loaded():
    before, loaded = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), cli.interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        loaded.append("all of them")
    assert loaded and signal.getsignal(signal.SIGINT) is before
    with cli.interrupts_held():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_comes_while_a_finalizer_runs_is_not_lost(capsys):
    class Ending:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    class HalfMade:
        def __del__(self):
            raise AttributeError("never was made")

    before = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), cli.interrupts_kept():
        half = HalfMade()
        half.itself = half
        ending = Ending()
        del ending, half
        time.sleep(30)
    assert time.monotonic() - begun < 30  # it also ends what the main thread waits for
    assert (sys.unraisablehook, signal.getsignal(signal.SIGINT)) == before and capsys.readouterr().err == ""


def test_the_command_itself_loads_nothing_that_takes_long():
    code = "import sys, rnnscratch.cli; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("given", "workers"), [([], 2), (["--workers", "3"], 3), (["--device", "gpu"], 1), (["--best"], 2)]
)
def test_two_processes_train_on_the_cpu_and_one_on_a_gpu_unless_told_otherwise(given, workers, tmp_path, monkeypatch):
    from rnnscratch.experiments import imdb

    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imdb.Settings, "check", lambda self: seen.append(self))
    monkeypatch.setattr(imdb, "run", lambda settings, *_: [{"data": "", "model": "bow", "seed": 0}])
    monkeypatch.setattr("rnnscratch.experiments.results.table", lambda rows: "")
    assert cli.main(["imdb", *given]) == 0
    assert [settings.workers for settings in seen] == [workers]


def test_the_reports_protocol_is_one_layer_one_direction_the_last_state_and_its_cleaning(tmp_path, monkeypatch, capsys):
    from rnnscratch.experiments import imdb

    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imdb.Settings, "check", lambda self: seen.append(self))
    monkeypatch.setattr(imdb, "run", lambda settings, *_: [{"data": "", "model": "bow", "seed": 0}])
    monkeypatch.setattr("rnnscratch.experiments.results.table", lambda rows: "")
    assert cli.main(["imdb", "--protocol", "report", "--hidden", "7", "--seeds", "2"]) == 0
    (settings,) = seen
    assert (settings.recipe, settings.pooling, settings.bidirectional) == ("report", "last", False)
    assert settings.model_options()["num_layers"] == 1 and settings.models == ("bow", "rnn", "lstm", "gru")
    assert (settings.pretrain, settings.distill, settings.word_dropout) == ("none", 0.0, 0.0)
    assert (settings.hidden, settings.seeds) == (7, 2)  # what is given counts
    with pytest.raises(SystemExit):
        cli.main(["imdb", "--protocol", "report", "--best"])
    assert "--best and --protocol exclude each other" in capsys.readouterr().err


def test_wrong_settings_take_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["imdb", "--epochs", "0"]) == 2
    assert "epochs is 0" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [["--out", "new"], []])
def test_a_run_that_cannot_begin_leaves_no_new_folder(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    for arguments in (out, ["--out", "old"]):
        assert cli.main(["imdb", "--data", "nowhere", *arguments]) == 2 and "nowhere" in capsys.readouterr().err
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == ({"old"} if out else {"old", "runs"})


def test_evaluate_prints_a_table_or_json_and_writes_the_report(judged, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(judged)
    assert cli.main(["evaluate", "it.npz", "it.csv", "--out", str(tmp_path / "report")]) == 0
    out, error = capsys.readouterr()
    assert re.search(r"^accuracy +90.00%  95 % interval 69.90% to 97.21%$", out, re.M) and error == ""
    assert re.search(r"^yes +0 +8$", out, re.M) and re.search(r"^no +10 +2$", out, re.M)
    assert out.endswith(f"report: {tmp_path / 'report' / 'evaluation.html'}\n")
    assert "line 2: no, but taken for yes" in (tmp_path / "report" / "evaluation.html").read_text()
    assert cli.main(["evaluate", "it.npz", "it.csv", "--form", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"] == [[10, 2], [0, 8]]
    (tmp_path / "it.tsv").write_text("1\tgood\n0\tbad\n?\tfilm\n")
    options = ["--text", "2", "--label", "1", "--names", "1=yes", "0=no"]
    assert cli.main(["evaluate", "it.npz", str(tmp_path / "it.tsv"), *options, "--unknown", "skip"]) == 0
    assert "2 texts of" in (said := capsys.readouterr().out) and "Passed over: 1 texts" in said


def test_explain_prints_a_table_and_writes_pages_and_pictures(judged, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(judged)
    assert cli.main(["explain", "it.npz", "a good film", "--out", str(tmp_path / "it.html")]) == 0
    out, error = capsys.readouterr()
    assert out.startswith("yes (") and error == "" and out.endswith(f"written to {tmp_path / 'it.html'}\n")
    value = re.search(r"^good +([+]\d\.\d{4})  ", out, re.M)[1]
    assert f'title="{float(value):+.3f}">good</span>' in (tmp_path / "it.html").read_text()
    assert cli.main(["explain", "it.npz", "a good film", "--label", "no", "--out", str(tmp_path / "it.svg")]) == 0
    assert re.search(f"^good +-{value[1:]}  ", capsys.readouterr().out, re.M) and (tmp_path / "it.svg").stat().st_size
    assert cli.main(["explain", "it.npz", "it.csv"]) == 0
    out, error = capsys.readouterr()
    assert "it.csv is a file, and its name is explained" in error and re.search(r"^\[csv\] ", out, re.M)


def test_letters_that_a_picture_s_font_lacks_are_told_in_a_line(judged, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(judged)
    assert cli.main(["explain", "it.npz", "good \u7535\u5f71 \u5f88", "--out", str(tmp_path / "it.png")]) == 0
    out, error = capsys.readouterr()
    assert "\u7535\u5f71" in out and re.fullmatch("rnnscratch explain: the pictures' font lacks .*\\n", error)


def test_explain_reads_all_lines_of_standard_input_as_one_text(judged):
    process = command("explain", "it.npz", "-", folder=judged, stdin=subprocess.PIPE, text=False)
    out, error = process.communicate("\ufeffa good\r\nfilm\n".encode())
    assert process.returncode == 0 and error == b""
    assert re.findall(r"^(\S+) +[-+]\d", out.decode(), re.M) == ["[a]", "good", "film", "(sum)"]
    process = command("explain", "it.npz", "-", folder=judged, stdin=subprocess.PIPE, text=False)
    _, error = process.communicate(b"fine\nfianc\xe9\n")
    assert process.returncode == 2 and error.startswith(b"rnnscratch explain: standard input, line 2: the byte 0xe9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "none.npz", "it.csv"], "evaluate: .*none.npz does not exist"),
        (["evaluate", "it.npz", "none.csv"], "evaluate: .*none.csv"),
        (
            ["evaluate", "it.npz", "it.csv", "--label", "text", "--text", "label"],
            "evaluate: it.csv, line 2: the label 'a good film' is none",
        ),
        (["evaluate", "it.npz", "it.csv", "--label", "text"], "evaluate: text and label are both 'text', expected two"),
        (["evaluate", "it.npz", "it.csv", "--out", "it.pdf"], "evaluate: out is it.pdf, expected a file that ends in"),
        (["evaluate", "it.npz", "."], r"evaluate: \.: Is a folder, expected a file"),
        (
            ["predict", "it.onnx", "it.csv"],
            "predict: it.onnx holds no words and labels: give the .npz that it was conv",
        ),
        (["predict", "it.npz", "it.csv", "--text", "review"], "predict: .* text= or --text names another"),
        (["train", "-", "--out", "new.npz"], "train: FILE is -, but training reads a file, not standard input"),
        (["train", "it.csv", "--out", "it.csv/new.npz"], "train: .*it.csv: Is no folder"),
        (["evaluate", "it.npz", "it.csv", "--names", "1"], "evaluate: --names has '1', expected A=B"),
        (
            ["evaluate", "it.npz", "it.csv", "--out", "it.npz/here"],
            "evaluate: .*it.npz/here: Not a directory",
        ),
        (["explain", "none.npz", "good"], "explain: .*none.npz does not exist"),
        (["explain", "it.npz", "good", "--label", "perhaps"], "explain: label is 'perhaps', expected one of no, yes"),
        (["explain", "it.npz", "good", "--out", "it.pdf"], "explain: it.pdf ends in '.pdf', expected one of .html"),
    ],
)
def test_what_is_wrong_with_judging_is_told_in_a_line(arguments, message, judged, capsys, monkeypatch):
    monkeypatch.chdir(judged)
    before = sorted(judged.iterdir())
    assert cli.main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == "" and re.match(f"rnnscratch {message}", error) and error.count("\n") == 1
    assert sorted(judged.iterdir()) == before


@pytest.mark.parametrize("arguments", [["evaluate", "it.npz", "it.csv"], ["explain", "it.npz", "a good film"]])
def test_judging_ends_well_where_nobody_reads_it_or_it_is_interrupted(arguments, judged):
    ours, theirs = os.pipe()
    os.close(ours)
    process = command(*arguments, folder=judged, stdout=theirs)
    os.close(theirs)
    assert process.communicate()[1] == "" and process.returncode == 0
    first = (
        "from rnnscratch import predicting; import signal, os, time;"
        "stop = lambda *_: (os.kill(os.getpid(), signal.SIGINT), time.sleep(9));"
        "predicting.Labels.words = predicting.Labels.ids = stop"
    )
    process = command(*arguments, folder=judged, first=first)
    assert process.communicate()[1] == f"\nrnnscratch {arguments[0]}: stopped\n" and process.returncode == 130


def test_train_says_which_epoch_is_kept_in_lines_that_a_terminal_has_room_for(judged, tmp_path, capsys):
    arguments = ["train", str(judged / "it.csv"), "--epochs", "3", "--hidden-size", "4", "--workers", "1"]
    assert cli.main([*arguments, "--out", str(tmp_path / "one.npz")]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()[:4]]
    assert rows[0] == ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"]
    best = min(rows[1:], key=lambda row: float(row[3]))[0]
    assert f"\nkept: the weights after epoch {best}, of the lowest validation loss\n" in out
    assert max(map(len, out.splitlines()[:4])) <= 126
    assert cli.main([*arguments, "--out", str(tmp_path / "two.npz"), "--validation", "0"]) == 0
    out, error = capsys.readouterr()
    assert "kept" not in out and "no validation texts: the weights of the last epoch are kept" in error


def test_files_of_other_programs_go_through_all_commands(judged, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.csv").write_text("text;label\n" + '"Good" film, a;no\n"a bad film;yes\n' * 8)
    options = ["it.csv", "--separator", ";", "--no-quotes"]
    small = ["--epochs", "1", "--hidden-size", "4", "--workers", "1"]
    assert cli.main(["train", *options, "--text", "1", "--label", "2", "--out", "it.npz", *small]) == 0
    assert re.search(r"^ *label +1 ", capsys.readouterr().err, re.M)  # the line of names is a row
    assert cli.main(["predict", str(judged / "it.npz"), *options]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["label"] for line in said[:2]] == ["yes", "no"]
    assert cli.main(["evaluate", str(judged / "it.npz"), *options, "--unknown", "skip", "--form", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == 16


@pytest.mark.parametrize(
    "arguments",
    [["train", "it.csv", "--out", "locked/it.npz"], ["evaluate", "it.npz", "it.csv", "--out", "locked/it.html"]],
)
def test_the_system_s_errors_are_told_in_words(arguments, judged, monkeypatch, capsys):
    monkeypatch.chdir(judged)

    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == f"rnnscratch {arguments[0]}: {judged / 'locked'}: Permission denied\n"


def test_the_help_of_train_explains_each_option(capsys):
    for arguments in (["train", "--help"], ["train", "it.csv"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
    said, error = capsys.readouterr()
    assert "of TextClassifier" not in said and "None" not in said and "(default: 0.002)" in said
    assert error.count("\n") == 2 and "the following arguments are required: --out" in error


@pytest.mark.parametrize("name", ["evaluate", "explain"])
def test_help_answers(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for option in {"evaluate": ["DATA", "--label", "--unknown", "--out"], "explain": ["TEXT", "--label", "--out"]}[
        name
    ]:
        assert option in said


def test_without_a_home_folder_the_reviews_are_looked_for_all_the_same():
    """A user whom the machine does not know, as in containers."""
    if os.getuid() != 0:
        pytest.skip("only root can become a user whom the machine does not know")
    code = """
import os
os.environ.pop("HOME", None), os.environ.pop("XDG_CACHE_HOME", None)
from rnnscratch.text import imdb
imdb.package_csv = lambda: None
os.setuid(54321)
try:
    imdb.load_imdb()
except FileNotFoundError as error:
    print("no reviews, but that is all:", error)
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "no reviews, but that is all: no IMDB reviews found" in said.stdout, said.stderr
