"""Several workers find the gradient that one would find, always with the same bits, and leave nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from same_bits import assert_same_bits, bits
from team_models import Fails, Killed, Line, Shapes

import rnnscratch
from rnnscratch.models import SequenceClassifier
from rnnscratch.optimizers import Adam
from rnnscratch.text.batches import Batch, pad
from rnnscratch.training import fit
from rnnscratch.workers import Communicator, Processes, Team, WorkerFailed

ROOT = Path(rnnscratch.__file__).parents[1]


def data(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 20, rng.integers(1, 12)) for _ in range(count)], rng.integers(0, 2, count)


def classifier(kind=SequenceClassifier, **options):
    dropouts = {"dropout": 0.3, "embedding_dropout": 0.3, "recurrent_dropout": 0.3, "word_dropout": 0.1}
    return kind(20, 5, 6, **{"bidirectional": True, "pooling": "mean+max", "seed": 0, **dropouts, **options})


def run(model, workers, epochs=2, **options):
    options = {"batch_size": 10, "clip_norm": 1.0, "progress": False, **options}
    return fit(model, data(45), data(12, 1), optimizer=Adam(0.01), epochs=epochs, workers=workers, **options)


def batch(count):
    sequences, labels = data(count, seed=7)
    order = np.argsort([-len(sequence) for sequence in sequences], kind="stable")
    ids, lengths = pad([sequences[k] for k in order])
    return Batch(ids, lengths, labels[order], order)


@pytest.mark.parametrize(("workers", "count"), [(2, 11), (3, 11), (3, 2)])
def test_the_sum_over_workers_is_the_gradient_of_the_whole_batch(workers, count):
    """With more workers than sequences too: those without a part add nothing, not what they found last."""
    nothing = {"dropout": 0.0, "embedding_dropout": 0.0, "recurrent_dropout": 0.0, "word_dropout": 0.0}
    model, alone = (classifier(dtype="float64", num_classes=3, **nothing) for _ in range(2))
    with Team(model, workers) as team:
        for step, size in enumerate((7, count)):
            for each in (model, alone):
                for name, array in each.params.items():
                    array += 0.1 * np.random.default_rng(step).standard_normal(array.shape) * (name != "dense.b")
            loss, figures = team.gradient(batch(size))
            right, back, right_figures = alone.batch_loss(batch(size), train=True)
            back()
            assert loss == pytest.approx(right, rel=1e-12)
            assert figures == pytest.approx(right_figures, rel=1e-12)
            for name, gradient in alone.grads.items():
                np.testing.assert_allclose(model.grads[name], gradient, rtol=1e-12, atol=1e-14, err_msg=name)


def test_parts_of_a_batch_are_the_batch():
    whole = batch(11)
    parts = classifier().split(whole, 4)
    assert [len(part.lengths) for part in parts] == [3, 3, 3, 2]
    assert sorted(index for part in parts for index in part.indices) == sorted(whole.indices)
    sequences, labels = data(11, seed=7)
    for part in parts:
        assert (np.diff(part.lengths) <= 0).all() and len(part.ids) == part.lengths[0]
        for column, (length, label, index) in enumerate(zip(part.lengths, part.labels, part.indices)):
            np.testing.assert_array_equal(part.ids[:length, column], sequences[index])
            assert label == labels[index] and not part.ids[length:, column].any()


def test_the_same_number_of_workers_gives_the_same_bits():
    first, second, alone = classifier(), classifier(), classifier()
    rows = [run(first, 2).rows, run(second, 2).rows]
    run(alone, 1)
    assert_same_bits(bits(second), bits(first))
    timing = ("seconds", "tokens_per_second")
    assert [{k: v for k, v in row.items() if k not in timing} for row in rows[0]] == [
        {k: v for k, v in row.items() if k not in timing} for row in rows[1]
    ]
    assert any((first.params[name] != alone.params[name]).any() for name in first.params)  # other dropout masks


def test_every_worker_and_every_update_has_its_own_chance():
    x, y = np.ones((4, 3)), np.full(4, 10.0)
    model = Line(noise=1.0)
    with Team(model, 3) as team:
        found = []
        for _ in range(3):
            team.gradient((x, y))
            found.append(model.grads["w"][0])
            model.params["w"][...] = 0
    shares = np.random.default_rng(0)
    expected = []
    for _ in range(3):  # each part's factor: rank 0's from the model's own generator, the others' from a seed it draws
        seed = int(shares.integers(2**63))
        draws = [shares.random(), *(np.random.default_rng([seed, rank]).random() for rank in (1, 2))]
        expected.append(-20 * np.dot([0.5, 0.25, 0.25], 1 + np.array(draws)))
        assert len(set(draws)) == 3
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_run_with_workers_that_was_interrupted_goes_on_to_the_same_bits(tmp_path):
    right, model = classifier(), classifier()
    run(right, 2, epochs=3)

    def interrupt(model, row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="holds 2, from which resume=True goes on"):
        run(model, 2, epochs=3, checkpoint=tmp_path / "run.npz", callbacks=[interrupt])
    assert not multiprocessing.active_children()
    later = classifier(seed=5)
    with pytest.raises(ValueError, match="its workers is 2, here it is None"):
        run(later, 1, epochs=3, checkpoint=tmp_path / "run.npz", resume=True)
    run(later, 2, epochs=3, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same_bits(bits(later), bits(right))


def test_a_killed_worker_ends_the_run_and_leaves_a_usable_checkpoint(tmp_path, monkeypatch):
    right = classifier(Killed)
    run(right, 2, epochs=3)
    monkeypatch.setenv("KILLED_AT", "8")  # an epoch has 5 updates
    with pytest.raises(WorkerFailed, match=r"worker 1 ended with exit code -9; interrupted after 1 of 3 epochs; .*run"):
        run(classifier(Killed), 2, epochs=3, checkpoint=tmp_path / "run.npz")
    assert not multiprocessing.active_children()
    monkeypatch.delenv("KILLED_AT")
    later = classifier(Killed, seed=3)
    run(later, 2, epochs=3, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same_bits(bits(later), bits(right))


def line_batches():
    rng = np.random.default_rng(0)
    return [(x, x @ [1.0, 2.0, 3.0]) for x in rng.standard_normal((5, 8, 3))]


@pytest.mark.parametrize(
    ("how", "message"), [("error", "(?s)worker 1 failed:.*three is too many"), ("kill", "worker 1 ended with exit")]
)
def test_an_error_in_a_worker_is_told(how, message):
    model = Fails(how)
    with pytest.raises(WorkerFailed, match=message):
        fit(model, line_batches(), optimizer=Adam(0.1), epochs=2, workers=2, progress=False)
    assert not multiprocessing.active_children()


def test_an_error_in_rank_0_is_the_error_itself():
    batches = line_batches()
    batches[2] = (batches[2][0], batches[2][1][:5])
    with pytest.raises(ValueError, match="operands could not be broadcast"):
        fit(Line(), batches, optimizer=Adam(0.1), epochs=2, workers=2, progress=False)
    assert not multiprocessing.active_children()


def test_a_model_of_ones_own_and_one_thread_for_each_worker():
    model, alone = Line(), Line()
    history = fit(model, line_batches(), optimizer=Adam(0.1), epochs=40, workers=2, progress=False)
    fit(alone, line_batches(), optimizer=Adam(0.1), epochs=40, progress=False)
    np.testing.assert_allclose(model.params["w"], alone.params["w"], rtol=1e-9)
    assert set(history["threads"]) == {1.0}
    assert history["process"][0] != os.getpid()  # the mean over two processes


def test_workers_know_what_is_fixed_and_from_when_it_learns():
    """A fixed table takes no part in the norm to which gradients are clipped, whoever found them."""
    nothing = {"dropout": 0.0, "embedding_dropout": 0.0, "recurrent_dropout": 0.0, "word_dropout": 0.0}
    models = [classifier(dtype="float64", freeze=True, **nothing) for _ in range(2)]
    before = bits(models[0])
    for workers, model in enumerate(models, 1):
        run(model, workers, epochs=2, clip_norm=0.01, unfreeze={"recurrent.W": 2})
    for name, array in models[0].params.items():
        np.testing.assert_allclose(models[1].params[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
        assert (array == before[name]).all() == (name == "embedding.E")


def test_a_batch_that_is_not_finite_is_named_and_spoils_no_weights():
    batches = line_batches()
    batches[1][0][3, 1] = np.nan  # in the second worker's part
    model = Line()
    with pytest.raises(FloatingPointError, match="loss nan, .* in epoch 1, batch 2"):
        fit(model, batches, optimizer=Adam(0.1), workers=2, progress=False)
    assert np.isfinite(model.params["w"]).all()


@pytest.mark.parametrize(
    ("model", "workers", "error", "message"),
    [
        (Line, 0, ValueError, "workers is 0, expected at least 1"),
        (Line, 1.5, TypeError, "workers is 1.5, expected a whole number"),
        (Line, "2", TypeError, "workers is '2', expected a whole number"),
        (Line, True, TypeError, "workers is True, expected a whole number"),
        (Line, np.array(2), TypeError, r"workers is array\(2\), expected a whole number"),
    ],
)
def test_bad_numbers_of_workers_are_named(model, workers, error, message):
    with pytest.raises(error, match=message):
        fit(model(), line_batches(), optimizer=Adam(0.1), workers=workers, progress=False)


class Whole:
    """A model that has no `split`."""

    params = grads = {"w": np.zeros(1)}


def test_models_that_cannot_be_shared_are_named():
    with pytest.raises(TypeError, match=r"workers is 2, but Whole has no split\(batch, parts\)"):
        fit(Whole(), line_batches(), optimizer=Adam(0.1), workers=2, progress=False)
    model = Line()
    model.further = lambda: None
    with pytest.raises(TypeError, match="model cannot be sent to workers"):
        fit(model, line_batches(), optimizer=Adam(0.1), workers=2, progress=False)


SCRIPT = """
import os, sys, time
from rnnscratch.training import fit
from rnnscratch.optimizers import Adam
from team_models import Line
from test_workers import line_batches

{guard}
    def pids(model, row):
        import multiprocessing
        print(*[process.pid for process in multiprocessing.active_children()], flush=True)
        time.sleep({sleep})
    fit(Line(), line_batches(), optimizer=Adam(0.1), epochs=2, workers=3, progress=False, callbacks=[pids])
    print("done")
"""


def script(tmp_path, guard='if __name__ == "__main__":', sleep=0):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.format(guard=guard, sleep=sleep))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def in_shared_memory():
    places = [place for place in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(place)]
    return {name for place in places for name in os.listdir(place)}


def test_a_script_without_its_main_guard_is_told_so(tmp_path):
    out, errors = script(tmp_path, guard="if True:").communicate(timeout=60)
    assert "worker 1 ended with exit code 1; a script must be a file, and start workers under `if __name__" in errors
    assert "done" not in out


def test_nothing_is_left_when_a_run_ends_or_is_killed(tmp_path):
    before = in_shared_memory()
    process = script(tmp_path)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and out.endswith("done\n") and not errors
    killed = script(tmp_path, sleep=60)
    workers = [int(pid) for pid in killed.stdout.readline().split()]
    assert len(workers) == 2 and all(map(running, workers))
    killed.kill()
    killed.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, workers))
    assert not {name for name in in_shared_memory() - before if name.startswith(("pym-", "pymp-", "psm_", "sem.mp-"))}


def running(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


MPI_SCRIPT = """
import sys
import numpy as np
from rnnscratch.workers import MPI
from test_workers import bits, classifier, run

comm = MPI()
model = classifier(seed=0 if comm.rank == 0 else 9)  # the others end with rank 0's weights all the same
history = run(model, comm, epochs=3)
np.savez(sys.argv[1] + str(comm.rank), best=history.best_epoch, loss=history["loss"], **bits(model))
"""


def under_mpiexec(source, tmp_path, argument):
    pytest.importorskip("mpi4py", reason="mpi4py comes with the extra mpi")
    beside = Path(sys.executable).with_name("mpiexec")  # that of the library which mpi4py loads, where pip installed it
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("mpiexec comes with an MPI library, which is not installed")
    path = tmp_path / "train.py"
    path.write_text(source)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [mpiexec, "-n", "2", sys.executable, "-m", "mpi4py", str(path), argument]
    return subprocess.run(command, env=environment, timeout=60, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_under_mpiexec_two_processes_give_the_bits_of_two_workers(tmp_path):
    under_mpiexec(MPI_SCRIPT, tmp_path, str(tmp_path / "rank"))
    right = classifier()
    history = run(right, 2, epochs=3)
    for rank in (0, 1):
        with np.load(tmp_path / f"rank{rank}.npz") as file:
            found = dict(file)
        assert found.pop("best") == history.best_epoch
        np.testing.assert_array_equal(found.pop("loss"), history["loss"])
        assert_same_bits(found, bits(right))


ERROR_SCRIPT = """
import sys
from rnnscratch.optimizers import Adam
from rnnscratch.training import fit
from rnnscratch.workers import MPI
from team_models import Line
from test_workers import line_batches

comm = MPI()

class Stopped(Line):
    count = 0

    def batch_loss(self, batch, train=False):
        self.count += train
        if comm.rank == int(sys.argv[1]) and self.count == 3:
            raise {"0": KeyboardInterrupt, "1": ZeroDivisionError}[sys.argv[1]]("stopped")
        return super().batch_loss(batch, train)

try:
    fit(Stopped(), line_batches(), optimizer=Adam(0.1), epochs=2, workers=comm, progress=False)
except BaseException as error:
    print(f"rank {comm.rank}: {type(error).__name__}: {error}", flush=True)
"""


@pytest.mark.parametrize(
    ("rank", "messages"),
    [
        (
            0,
            ["rank 0: KeyboardInterrupt: interrupted after 0 of 2", "rank 1: WorkerFailed: rank 0 ended with Keyboard"],
        ),
        (
            1,
            ["rank 0: WorkerFailed: worker 1 failed", "rank 1: WorkerFailed: rank 0 ended with WorkerFailed: worker 1"],
        ),
    ],
)
def test_under_mpiexec_an_error_ends_all_and_none_waits(rank, messages, tmp_path):
    found = under_mpiexec(ERROR_SCRIPT, tmp_path, str(rank))
    for message in messages:
        assert message in found


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_what_is_shared_may_have_any_shape(dtype):
    model, alone = Shapes(dtype), Shapes(dtype)
    with Team(model, 3) as team:
        for _ in range(2):
            team.gradient(np.arange(7))
            _, back, _ = alone.batch_loss(np.arange(7))
            back()
            for name, gradient in alone.grads.items():
                np.testing.assert_allclose(model.grads[name], gradient, rtol=1e-6)
                assert model.grads[name].dtype == dtype
                model.params[name] += 1
                alone.params[name] += 1


class Unsendable:
    """A batch that cannot be sent."""

    def __getstate__(self):
        raise OSError("on a disk that is gone")


def test_a_batch_that_cannot_be_sent_is_no_worker_that_ended():
    model = Line()
    model.split = lambda batch, parts: [line_batches()[0], Unsendable()]
    model.weight = lambda batch: 1
    with Team(Line(), 2) as team:
        team._model = model
        with pytest.raises(OSError, match="on a disk that is gone"):
            team.gradient(None)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("parts", [0, 3])
def test_a_split_into_too_many_or_no_parts_is_named(parts):
    model = Line()
    with Team(model, 2) as team:
        model.split = lambda batch, size: [batch] * parts
        with pytest.raises(ValueError, match=f"split gives {parts} parts of a batch, expected 1 to 2"):
            team.gradient(line_batches()[0])


def test_arrays_that_are_not_contiguous_are_named():
    model = Line()
    model.params["w"] = np.zeros((3, 2)).T
    with pytest.raises(ValueError, match=r"params\['w'\] or its gradient is not C-contiguous"):
        fit(model, line_batches(), optimizer=Adam(0.1), workers=2, progress=False)


def test_communicators_are_what_the_protocol_says():
    names = [name for name in vars(Communicator) if not name.startswith("_")]
    assert names == ["scatter", "gather", "share", "sum"] and all(hasattr(Processes, name) for name in names)
