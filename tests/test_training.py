"""Training: it learns, it is the same every time, it can be stopped anywhere and resumed to the same bits."""

from __future__ import annotations

import csv
import errno
import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
from same_bits import assert_same_bits, bits

from rnnscratch import checkpoints, files, metrics, npz, training
from rnnscratch.models import SequenceClassifier
from rnnscratch.optimizers import SGD, Adam, Plateau, cosine_schedule, step_schedule, warm_up
from rnnscratch.training import History, NonFiniteLoss, evaluate, fit, predict

V, K = 9, 3


def data(count, seed=0, classes=2):
    """Sequences of words 4 to 8 with one of the words 1 to `classes` somewhere: which one, is the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    sequences = [rng.integers(4, V, rng.integers(1, 9)) for _ in range(count)]
    for sequence, label in zip(sequences, labels):
        sequence[rng.integers(0, len(sequence))] = label + 1
    return sequences, labels


TRAIN, VALIDATION = data(120), data(40, seed=1)


def classifier(seed=0, **options):
    return SequenceClassifier(**{"vocabulary_size": V, "embedding_dim": 6, "hidden_size": 8, "seed": seed, **options})


def dropping(**options):
    dropouts = {"dropout": 0.2, "embedding_dropout": 0.2, "recurrent_dropout": 0.2, "word_dropout": 0.1}
    return classifier(pooling="mean+max", num_layers=2, bidirectional=True, **{**dropouts, **options})


def run(model, epochs=2, optimizer=None, validation=VALIDATION, **options):
    optimizer = optimizer or Adam(0.01)
    options = {"batch_size": 16, "progress": False, **options}
    return fit(model, options.pop("train", TRAIN), validation, optimizer=optimizer, epochs=epochs, **options)


def scripted(monkeypatch, monitor, values):
    """Let validation give these figures, one for each epoch."""
    script = iter(values)
    scores = {"loss": 0.5, "accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    monkeypatch.setattr(training, "scores_of", lambda *_, **__: {**scores, monitor: next(script)})


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_every_cell_learns_a_task_that_needs_the_whole_sequence(cell):
    model = classifier(cell=cell, num_classes=3)
    train, held_out = data(240, classes=3), data(90, seed=1, classes=3)
    history = run(model, 14, Adam(0.02), None, train=train, clip_norm=5.0)
    assert history["loss"][0] > 0.6 and history["loss"][-1] < 0.1
    assert evaluate(model, *held_out)["accuracy"] > 0.95
    assert history["accuracy"][0] < 0.8 < history["accuracy"][-1]


def test_an_epoch_is_the_updates_one_would_make_by_hand():
    model, twin = classifier(), classifier()
    history = run(model, 2, SGD(0.3), None, seed=5, clip_norm=0.2)
    batches = training.Batches(*TRAIN, batch_size=16, shuffle=True, seed=5)
    for epoch in range(2):
        losses, right, norms = 0.0, 0, 0.0
        for batch in batches:
            logits = twin.forward(batch.ids, batch.lengths, train=True)
            loss, dlogits = twin.loss(logits, batch.labels)
            twin.backward(dlogits)
            norm = math.sqrt(sum(float((gradient.astype(float) ** 2).sum()) for gradient in twin.grads.values()))
            for name, array in twin.params.items():
                array -= 0.3 * twin.grads[name] * min(1.0, 0.2 / (norm + 1e-6))
            losses, norms = losses + float(loss) * len(batch.labels), norms + norm
            right += int(((logits > 0) == batch.labels).sum())
        assert history["loss"][epoch] == pytest.approx(losses / 120, rel=1e-5)
        assert history["accuracy"][epoch] == pytest.approx(right / 120)
        assert history["gradient_norm"][epoch] == pytest.approx(norms / 8, rel=1e-5)
    for name, array in twin.params.items():
        np.testing.assert_allclose(model.params[name], array, rtol=1e-4, atol=1e-6)


def test_the_same_seeds_give_the_same_bits_and_others_do_not():
    first, same, other = dropping(), dropping(), dropping()
    run(first, seed=3), run(same, seed=3), run(other, seed=4)
    assert_same_bits(bits(same), bits(first))
    assert (other.params["dense.W"] != first.params["dense.W"]).any()


@pytest.mark.parametrize("losses", [[0.5, 0.4, 0.6, 0.4], [0.4, 0.5, 0.6], [0.6, 0.5, 0.4]])
def test_it_ends_with_the_weights_of_the_epoch_that_validated_best(losses, monkeypatch):
    scripted(monkeypatch, "loss", losses)
    seen = []
    model = classifier()
    history = run(model, len(losses), callbacks=[lambda model, row: seen.append(bits(model))])
    best = losses.index(0.4)
    assert history.best_epoch == best + 1
    assert_same_bits(bits(model), seen[best])
    assert all((seen[k]["dense.W"] != seen[k + 1]["dense.W"]).any() for k in range(len(losses) - 1))


def test_the_validation_figures_are_those_of_the_weights_it_ends_with():
    model = classifier()
    history = run(model, 3)
    scores = evaluate(model, *VALIDATION)
    assert history["validation_loss"][history.best_epoch - 1] == scores["loss"] == min(history["validation_loss"])


def test_without_validation_it_ends_with_the_last_weights():
    seen = []
    model = classifier()
    history = run(model, 3, validation=None, callbacks=[lambda model, row: seen.append(bits(model))])
    assert history.best_epoch == 3 and "validation_loss" not in history.rows[0]
    assert_same_bits(bits(model), seen[2])


@pytest.mark.parametrize(
    ("monitor", "values", "patience", "epochs", "best"),
    [
        ("loss", [0.5, 0.4, 0.45, 0.46, 0.1], 1, 4, 2),
        ("loss", [0.5, 0.5, 0.1], 0, 2, 1),
        ("loss", [0.5, 0.6, 0.4, 0.5, 0.3], 1, 5, 5),
        ("accuracy", [0.5, 0.7, 0.6, 0.65, 0.9], 1, 4, 2),
    ],
)
def test_it_stops_when_the_figure_was_not_bettered_for_longer_than_patience(
    monitor, values, patience, epochs, best, monkeypatch
):
    scripted(monkeypatch, monitor, values)
    history = run(classifier(), len(values), monitor=monitor, patience=patience)
    assert (len(history), history.best_epoch) == (epochs, best)


def test_a_callback_sees_each_epoch_and_can_stop_the_training():
    rows = []

    def stop_at_two(model, row):
        rows.append(row)
        row["epoch"] = row["epoch"] * 10  # its own copy: the history is not changed
        return row["epoch"] == 20

    history = run(classifier(), 5, callbacks=[stop_at_two])
    assert [row["epoch"] for row in rows] == [10, 20] and history["epoch"] == [1, 2]
    assert rows[1]["validation_f1"] == history["validation_f1"][1]


def test_the_schedule_gives_the_rate_of_each_update_and_the_optimizer_keeps_its_own():
    used = []
    optimizer = SGD(0.5)
    step = optimizer.step
    optimizer.step = lambda *arguments: (used.append(optimizer.learning_rate), step(*arguments))
    schedule = warm_up(cosine_schedule(0.1, 16), 4)
    history = run(classifier(), 2, optimizer, schedule=schedule)
    assert used == [schedule(update) for update in range(16)]
    assert history["learning_rate"] == [schedule(7), schedule(15)] and optimizer.learning_rate == 0.5


def test_a_plateau_scales_the_rate_down(monkeypatch):
    scripted(monkeypatch, "loss", [0.5, 0.6, 0.6, 0.6, 0.6])
    optimizer = SGD(0.4)
    history = run(classifier(), 5, optimizer, plateau=Plateau(factor=0.5, patience=0))
    assert history["learning_rate"] == [0.4, 0.4, 0.2, 0.1, 0.05] and optimizer.learning_rate == 0.4


class Stop(Exception):
    pass


def changed(position):
    sequences = [sequence.copy() for sequence in TRAIN[0]]
    sequences[position][0] = 8 if sequences[position][0] != 8 else 7
    return sequences, TRAIN[1]


def stopper(error, epoch):
    """A callback that raises after an epoch."""

    def callback(model, row):
        if row["epoch"] == epoch:
            raise error

    return callback


def interrupt_at(monkeypatch, update):
    """Ctrl-C in the middle of the update of this number."""
    count, original = [0], training.norm_and

    def measure(*arguments, **options):
        count[0] += 1
        if count[0] == update:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(training, "norm_and", measure)


CASES = {
    "adam, plateau": (
        {},
        lambda: {"optimizer": Adam(0.01), "plateau": Plateau(0.5, 0, threshold=0.9), "clip_norm": 1.0},
    ),
    "schedule": ({"cell": "gru"}, lambda: {"optimizer": Adam(0.01), "schedule": cosine_schedule(0.02, 40)}),
    "sgd, no validation": ({"cell": "rnn"}, lambda: {"optimizer": SGD(0.1), "validation": None}),
    "float64": ({"dtype": "float64"}, lambda: {"optimizer": Adam(0.01), "max_length": 4}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["callback", "interrupt"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(how, name, tmp_path, monkeypatch):
    model_options, make = CASES[name]
    straight = dropping(**model_options)
    right = run(straight, 4, **make())
    path = tmp_path / "run.npz"
    killed = dropping(**model_options)
    with monkeypatch.context() as patched:
        if how == "interrupt":
            interrupt_at(patched, 8 * 2 + 5)  # in epoch 3
        callbacks = [stopper(Stop, 2)] if how == "callback" else []
        with pytest.raises((Stop, KeyboardInterrupt)):
            run(killed, 4, checkpoint=path, callbacks=callbacks, **make())
    resumed = dropping(seed=99, **model_options)  # its own weights and generator are replaced
    history = run(resumed, 4, checkpoint=path, resume=True, **make())
    assert_same_bits(bits(resumed), bits(straight))
    assert history.best_epoch == right.best_epoch
    for figure in right.rows[0].keys() - {"seconds", "tokens_per_second"}:
        assert history[figure] == right[figure], figure
    np.testing.assert_array_equal(
        resumed.forward(np.ones((3, 2), int), train=True), straight.forward(np.ones((3, 2), int), train=True)
    )


def test_the_same_objects_can_go_on_after_an_interrupt_in_a_notebook(tmp_path, monkeypatch):
    straight = dropping()
    run(straight, 3, schedule=cosine_schedule(0.02, 24))
    model, optimizer = dropping(), Adam(0.01)
    options = {"schedule": cosine_schedule(0.02, 24), "checkpoint": tmp_path / "run.npz"}
    with monkeypatch.context() as patched:
        interrupt_at(patched, 11)
        with pytest.raises(
            KeyboardInterrupt, match="interrupted after 1 of 3 epochs; .*run.npz holds 1, .*resume=True"
        ):
            run(model, 3, optimizer, **options)
    run(model, 3, optimizer, resume=True, **options)
    assert_same_bits(bits(model), bits(straight))


@pytest.mark.parametrize("update", [1, 3, 8])
@pytest.mark.parametrize("name", CASES)
def test_the_same_objects_go_on_to_the_same_bits_after_an_interrupt_in_the_first_epoch(
    name, update, tmp_path, monkeypatch
):
    model_options, make = CASES[name]
    straight = dropping(**model_options)
    run(straight, 3, **make())
    model, options = dropping(**model_options), make() | {"checkpoint": tmp_path / "run.npz"}
    with monkeypatch.context() as patched:
        interrupt_at(patched, update)
        with pytest.raises(KeyboardInterrupt, match="interrupted after 0 of 3 epochs; .*run.npz holds 0, .*resume"):
            run(model, 3, **options)
    run(model, 3, resume=True, **options)
    assert_same_bits(bits(model), bits(straight))


def test_going_on_from_nothing_with_an_optimizer_that_has_begun_is_an_error(tmp_path, monkeypatch):
    model, optimizer = dropping(), Adam(0.01)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            run(model, 3, optimizer)
    before = bits(model)
    with pytest.raises(
        ValueError, match="resume is True, but .*run.npz does not exist, and the optimizer has made 2 st"
    ):
        run(model, 3, optimizer, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same_bits(bits(model), before)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_without_a_checkpoint_promises_none(monkeypatch):
    interrupt_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(classifier())
    assert str(caught.value) == "interrupted after 0 of 2 epochs"


def test_a_finished_run_is_not_run_again_but_can_be_made_longer(tmp_path):
    straight = dropping()
    run(straight, 3)
    path = tmp_path / "run.npz"
    run(dropping(), 2, checkpoint=path)
    written = path.read_bytes()
    again = dropping()
    assert len(run(again, 2, checkpoint=path, resume=True)) == 2 and path.read_bytes() == written
    run(again, 3, checkpoint=path, resume=True)
    assert_same_bits(bits(again), bits(straight))


def test_an_early_stop_holds_when_resumed(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    scripted(monkeypatch, "loss", [0.5, 0.6, 0.1])
    model = classifier()
    assert len(run(model, 3, patience=0, checkpoint=path)) == 2
    again = classifier()
    history = run(again, 3, patience=0, checkpoint=path, resume=True)
    assert len(history) == 2 and history.best_epoch == 1
    assert_same_bits(bits(again), bits(model))


def test_resume_without_a_checkpoint_file_starts_from_the_beginning(tmp_path):
    straight, model = classifier(), classifier()
    run(straight)
    run(model, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same_bits(bits(model), bits(straight))


def test_a_run_begun_anew_replaces_its_own_checkpoint_when_an_epoch_is_done(tmp_path, monkeypatch):
    """As a cell of a notebook does that makes the model, trains it and is run twice."""
    path = tmp_path / "run.npz"
    run(dropping(), 3, checkpoint=path)
    written = files.load_arrays(path, checkpoints.CHECKPOINT)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        with pytest.raises(KeyboardInterrupt, match="run.npz holds 3"):
            run(dropping(), 3, checkpoint=path)
    again = files.load_arrays(path, checkpoints.CHECKPOINT)
    assert again[0] == written[0]
    run(dropping(), 1, checkpoint=path)
    assert len(files.load_arrays(path, checkpoints.CHECKPOINT)[0]["rows"]) == 1


def test_a_plateau_that_has_waited_makes_another_run(tmp_path):
    path, plateau = tmp_path / "run.npz", Plateau(patience=9)
    run(dropping(), 1, plateau=plateau, checkpoint=path)
    with pytest.raises(ValueError, match="it began from other weights or generators"):
        run(dropping(), 1, plateau=plateau, checkpoint=path)


def trained_already(path):
    """The same cell without the line that makes the model."""
    model = dropping()
    run(model, 1, checkpoint=path)
    return model


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (lambda path: dropping(seed=1), {}, "it began from other weights or generators than these"),
        (trained_already, {}, "it began from other weights or generators than these"),
        (lambda path: dropping(dropout=0.3), {}, "its model is"),
        (lambda path: dropping(), {"seed": 1}, "its seed is 0, here it is 1"),
        (lambda path: dropping(), {"train": changed(7)}, "its training data is"),
        (lambda path: dropping(), {"optimizer": SGD(0.01)}, "its optimizer is"),
    ],
)
def test_the_checkpoint_of_another_run_is_not_overwritten(model, options, said, tmp_path):
    path = tmp_path / "run.npz"
    run(dropping(), 1, checkpoint=path)
    model, written = model(path), path.read_bytes()
    before = bits(model)
    with pytest.raises(ValueError, match=f"run.npz is the checkpoint of another run: {said}.*resume=True"):
        run(model, 1, checkpoint=path, **options)
    assert path.read_bytes() == written and [each.name for each in tmp_path.iterdir()] == ["run.npz"]
    assert_same_bits(bits(model), before)


@pytest.mark.parametrize("content", [b"", b"a letter", b"PK\5\6" + bytes(18)])
def test_a_file_that_is_no_checkpoint_is_not_overwritten(content, tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"letter.txt is not .* or damaged.*give another path or delete the file"):
        run(classifier(), checkpoint=path)
    assert path.read_bytes() == content


def test_a_checkpoint_in_use_is_not_taken_and_is_free_again_after_an_error(tmp_path):
    path = tmp_path / "run.npz"

    def second(model, row):
        with pytest.raises(BlockingIOError, match=r"run\.npz is in use by process"):
            run(classifier(), checkpoint=path, resume=True)
        raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            run(classifier(), checkpoint=path, callbacks=[second])
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]


def test_a_checkpoint_that_cannot_be_written_is_named_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(training, "train_epoch", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(OSError, match="folder"):
        run(classifier(), checkpoint=tmp_path / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        run(classifier(), checkpoint=tmp_path / "file" / "run.npz")
    with pytest.raises(TypeError, match="of type set cannot be written as JSON"):
        model = classifier()
        model.config = lambda: {"options": {1, 2}}
        run(model, checkpoint=tmp_path / "run.npz")


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    straight, model = dropping(), dropping()
    run(straight, 2)
    run(dropping(), 1, checkpoint="~/run.npz")
    run(model, 2, checkpoint="~/run.npz", resume=True)
    assert_same_bits(bits(model), bits(straight))
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.parametrize(
    ("model", "options", "differs"),
    [
        ({"hidden_size": 9}, {}, "model"),
        ({"dropout": 0.3}, {}, "model"),
        ({}, {"optimizer": SGD(0.01)}, "optimizer"),
        ({}, {"optimizer": Adam(0.02)}, "optimizer"),
        ({}, {"optimizer": Adam(0.01, beta1=0.8)}, "optimizer"),
        ({}, {"batch_size": 17}, "batch_size"),
        ({}, {"seed": 1}, "seed"),
        ({}, {"clip_norm": 1.0}, "clip_norm"),
        ({}, {"max_length": 5}, "max_length"),
        ({}, {"monitor": "accuracy"}, "monitor"),
        ({}, {"schedule": cosine_schedule(0.1, 10)}, "schedule"),
        ({}, {"plateau": Plateau()}, "plateau"),
        ({}, {"train": (TRAIN[0][:-1], TRAIN[1][:-1])}, "training data"),
        ({}, {"train": changed(7)}, "training data"),
        ({}, {"train": (TRAIN[0], 1 - TRAIN[1])}, "training data"),
        ({}, {"validation": None}, "validation data"),
    ],
)
def test_resuming_another_run_is_refused_and_says_what_differs(model, options, differs, tmp_path):
    path = tmp_path / "run.npz"
    run(classifier(), 1, checkpoint=path)
    written = path.read_bytes()
    other = classifier(**model)
    before = bits(other)
    with pytest.raises(ValueError, match=f"run.npz is the checkpoint of another run: its {differs} is"):
        run(other, 2, checkpoint=path, resume=True, **options)
    assert_same_bits(bits(other), before)
    assert path.read_bytes() == written


@pytest.mark.parametrize("damage", ["cut", "foreign", "header", "arrays"])
def test_a_damaged_checkpoint_is_refused(damage, tmp_path):
    path = tmp_path / "run.npz"
    run(classifier(), 1, checkpoint=path)
    header, arrays = files.load_arrays(path, checkpoints.CHECKPOINT)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        np.savez(path, a=np.zeros(3))
    elif damage == "header":
        del header["updates"]
        files.save_arrays(path, header, arrays)
    else:
        arrays["other/x"] = np.zeros(2)
        files.save_arrays(path, header, arrays)
    with pytest.raises(ValueError, match=r"run\.npz"):
        run(classifier(), 2, checkpoint=path, resume=True)


def nan_in(name):
    return lambda header, arrays: arrays[name].reshape(-1).__setitem__(0, np.nan)


def state(header):
    """The state of the first generator."""
    return header["generators"][0]


CHANGES = {
    "no generator": lambda header, arrays: header["generators"].pop(),
    "no generators": lambda header, arrays: header.pop("generators"),
    "one more generator": lambda header, arrays: header["generators"].append(header["generators"][0]),
    "generator of another kind": lambda header, arrays: state(header).update(bit_generator="MT19937"),
    "generator without its state": lambda header, arrays: state(header).pop("state"),
    "generator out of range": lambda header, arrays: state(header)["state"].update(state=2**200),
    "generator of fractions": lambda header, arrays: state(header)["state"].update(state=0.5),
    "no optimizer array": lambda header, arrays: arrays.pop("optimizer/dense.W/mean"),
    "no optimizer arrays": lambda header, arrays: [arrays.pop(name) for name in list(arrays) if name[0] == "o"],
    "one slot less": lambda header, arrays: [arrays.pop(name) for name in list(arrays) if name.endswith("/mean")],
    "one more slot": lambda header, arrays: arrays.update({"optimizer/dense.W/x": np.zeros(2)}),
    "optimizer's shape": lambda header, arrays: arrays.update({"optimizer/dense.W/mean": np.zeros(2, np.float32)}),
    "optimizer's NaN": nan_in("optimizer/dense.W/squares"),
    "negative squares": lambda header, arrays: arrays["optimizer/dense.W/squares"].fill(-1.0),
    "steps": lambda header, arrays: header["optimizer"].update(steps=-1),
    "NaN rate": lambda header, arrays: header["optimizer"].update(learning_rate=math.nan),
    "no steps": lambda header, arrays: header["optimizer"].pop("steps"),
    "NaN weight": nan_in("params/dense.W"),
    "NaN best weight": nan_in("best/dense.W"),
    "no weight": lambda header, arrays: arrays.pop("params/dense.W"),
    "no best weight": lambda header, arrays: arrays.pop("best/dense.W"),
    "no best weights": lambda header, arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("best")],
    "best weight's shape": lambda header, arrays: arrays.update({"best/dense.W": np.zeros(1, np.float32)}),
    "weight's shape": lambda header, arrays: arrays.update({"params/dense.b": np.zeros((1, 1), np.float32)}),
    "weight's dtype": lambda header, arrays: arrays.update({"params/dense.b": np.zeros(1)}),
    "no row": lambda header, arrays: header["rows"].pop(),
    "no rows": lambda header, arrays: header.update(rows=[]),
    "a row twice": lambda header, arrays: header["rows"].append(header["rows"][0]),
    "row of words": lambda header, arrays: header["rows"][0].update(loss="low"),
    "row without a loss": lambda header, arrays: header["rows"][1].pop("validation_loss"),
    "NaN in a row": lambda header, arrays: header["rows"][1].update(validation_loss=math.nan),
    "best epoch": lambda header, arrays: header.update(best_epoch=9),
    "best score": lambda header, arrays: header.update(best_score=0.0),
    "updates": lambda header, arrays: header.update(updates=0),
    "updates in words": lambda header, arrays: header.update(updates="16"),
    "finished": lambda header, arrays: header.update(finished="no"),
    "scale": lambda header, arrays: header.update(scale=2.0),
    "no plateau": lambda header, arrays: header.update(plateau=None),
    "plateau": lambda header, arrays: header["plateau"].update(waited=-3),
    "plateau's scale": lambda header, arrays: header["plateau"].update(scale=0.5),
    "start": lambda header, arrays: header.update(start=None),
    "fingerprint": lambda header, arrays: header.update(fingerprint=None),
}


def everything(model, optimizer, plateau):
    """All that a checkpoint changes, copied."""
    state = optimizer.state_dict()
    arrays = {name: array for name, array in state.items() if hasattr(array, "shape")}
    rest = {**state, **dict.fromkeys(arrays)}, plateau.state_dict(), model.rng.bit_generator.state
    return bits(model) | arrays, rest


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_which_a_part_is_missing_or_wrong_changes_nothing(change, tmp_path):
    path = tmp_path / "run.npz"
    run(dropping(), 2, Adam(0.01), plateau=Plateau(), checkpoint=path)
    header, arrays = files.load_arrays(path, checkpoints.CHECKPOINT)
    CHANGES[change](header, arrays)
    files.save_arrays(path, header, arrays)
    model, optimizer, plateau = dropping(seed=5), Adam(0.01), Plateau()
    run(model, 1, optimizer)  # so that it has a state to lose
    before, written = everything(model, optimizer, plateau), path.read_bytes()
    with pytest.raises(ValueError, match=r"run\.npz"):
        run(model, 3, optimizer, plateau=plateau, checkpoint=path, resume=True)
    after = everything(model, optimizer, plateau)
    assert_same_bits(after[0], before[0])
    assert after[1] == before[1] and path.read_bytes() == written


def test_a_full_disk_leaves_the_last_checkpoint_usable(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    straight = dropping()
    run(straight, 3)
    saves, original = [0], npz.write

    def full(*arguments, **arrays):
        saves[0] += 1
        if saves[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments, **arrays)

    with monkeypatch.context() as patched:
        patched.setattr(npz, "write", full)
        with pytest.raises(OSError, match="No space left"):
            run(dropping(), 3, checkpoint=path)
    resumed = dropping()
    run(resumed, 3, checkpoint=path, resume=True)
    assert_same_bits(bits(resumed), bits(straight))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda model: model.params["recurrent.U_l0"].__setitem__((0, 0), np.nan), "parameter recurrent.U_l0"),
        (lambda model: model.params["embedding.E"].__setitem__((slice(None), 0), np.inf), "parameter embedding.E"),
        (lambda model: model.params["dense.b"].fill(np.nan), "parameter dense.b"),
    ],
)
def test_weights_that_are_not_finite_stop_the_training_by_name(spoil, named):
    model = classifier()
    spoil(model)
    before = bits(model)
    with pytest.raises(NonFiniteLoss, match=f"epoch 1, batch 1; the first that is not finite is the {named}"):
        run(model)
    assert_same_bits(bits(model), before)


def test_a_gradient_that_is_not_finite_stops_the_training_before_the_update(monkeypatch):
    model, weights, original = classifier(), [], SequenceClassifier.backward

    def backward(self, dlogits):
        original(self, dlogits)
        weights.append(bits(self))
        if len(weights) == 8 + 3:
            self.grads["recurrent.W_l0"][0, 0] = self.grads["embedding.E"][1, 0] = np.inf

    monkeypatch.setattr(SequenceClassifier, "backward", backward)
    with pytest.raises(FloatingPointError, match="epoch 2, batch 3; .* is the gradient of recurrent.W_l0"):
        run(model, clip_norm=1.0)
    assert_same_bits(bits(model), weights[-1])
    assert (weights[-1]["dense.W"] != weights[0]["dense.W"]).any()


def test_a_learning_rate_that_is_far_too_large_ends_in_nonfiniteloss_not_in_nan_weights(tmp_path):
    model = classifier(cell="rnn", activation="relu")
    path = tmp_path / "run.npz"
    with pytest.raises(NonFiniteLoss):
        run(model, 9, SGD(1e20), checkpoint=path)
    assert not path.exists() or np.isfinite(files.load_arrays(path, checkpoints.CHECKPOINT)[1]["params/dense.W"]).all()


@pytest.mark.parametrize("validation", [None, VALIDATION])
@pytest.mark.parametrize("epoch", [1, 2])
def test_weights_that_the_last_update_of_an_epoch_spoils_are_neither_returned_nor_saved(
    epoch, validation, tmp_path, monkeypatch
):
    """The embedding of a word that no later batch reads, so that no loss tells."""
    path, updates, step = tmp_path / "run.npz", [0], Adam.step

    def spoiling(self, params, grads, fixed):
        step(self, params, grads, fixed)
        updates[0] += 1
        if updates[0] == 8 * epoch:
            params["embedding.E"][3, 0] = np.inf

    straight = classifier()
    run(straight, 3, validation=validation)
    with monkeypatch.context() as patched:
        patched.setattr(Adam, "step", spoiling)
        with pytest.raises(
            NonFiniteLoss, match=f"the parameter embedding.E is not finite after epoch {epoch}; a smaller"
        ):
            run(classifier(), 3, validation=validation, checkpoint=path)
    assert len(files.load_arrays(path, checkpoints.CHECKPOINT)[0]["rows"]) == epoch - 1
    again = classifier(seed=3)
    run(again, 3, validation=validation, checkpoint=path, resume=True)
    assert_same_bits(bits(again), bits(straight))


@pytest.mark.parametrize("rate", [1e3, 1e10, 1e20, 1e30, 1e38])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_whatever_the_rate_there_is_an_error_or_all_is_finite(optimizer, rate, tmp_path):
    path, model = tmp_path / "run.npz", classifier(cell="rnn", activation="relu", pooling="mean")
    try:
        run(model, 1, optimizer(rate), None, batch_size=60, checkpoint=path)
    except NonFiniteLoss:
        pass
    else:
        assert all(np.isfinite(array).all() for array in model.params.values())
    for array in files.load_arrays(path, checkpoints.CHECKPOINT)[1].values():
        assert np.isfinite(array).all()


def test_a_figure_to_choose_by_that_is_not_finite_stops_too(tmp_path, monkeypatch):
    scripted(monkeypatch, "accuracy", [math.nan])
    with pytest.raises(NonFiniteLoss, match="validation accuracy nan after epoch 1"):
        run(classifier(), monitor="accuracy")


def test_a_validation_loss_that_is_not_finite_stops_before_the_checkpoint(tmp_path, monkeypatch):
    scripted(monkeypatch, "loss", [math.nan])
    with pytest.raises(NonFiniteLoss, match="validation loss nan after epoch 1"):
        run(classifier(), checkpoint=tmp_path / "run.npz")
    assert files.load_arrays(tmp_path / "run.npz", checkpoints.CHECKPOINT)[0]["rows"] == []


def test_weights_so_large_that_the_logits_overflow_give_no_answer():
    model = classifier()
    model.params["dense.W"][...] = model.params["dense.b"][...] = 3e38
    with pytest.raises(FloatingPointError, match="the logits hold NaN or infinity: the weights are too large"):
        predict(model, VALIDATION[0])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["embedding.E", "recurrent.W_l0", "dense.b"])
def test_weights_that_are_no_numbers_give_no_answer_but_an_error_that_names_them(name, wrong):
    model = classifier(pooling="max")
    model.params[name][...] = wrong
    for call in (
        lambda: predict(model, VALIDATION[0]),
        lambda: evaluate(model, *VALIDATION),
        lambda: model.evaluate(model.batches(VALIDATION, 8, None, False, None)),
        lambda: model.predict_proba(np.array([[1], [2]])),
    ):
        with pytest.raises(FloatingPointError, match=f"{name} holds NaN or infinity"):
            call()


def test_predict_and_evaluate_take_sequences_and_labels_from_any_container():
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    model = classifier()
    sequences, labels = VALIDATION
    index = np.arange(len(labels))[::-1]
    logits, scores = predict(model, sequences), evaluate(model, sequences, labels)
    for given, answers in (
        (iter(sequences), iter(labels.tolist())),
        (pandas.Series([each.tolist() for each in sequences], index=index), pandas.Series(labels, index=index)),
        (pandas.DataFrame({"ids": sequences}, index=index), pandas.DataFrame({"y": labels.astype(float)}, index=index)),
        ([torch.tensor(each) for each in sequences], torch.tensor(labels) == 1),
    ):
        assert evaluate(model, given, answers) == scores
    assert_same_bits({"": predict(model, map(list, sequences))}, {"": logits})
    for wrong in ([str(label) for label in labels], labels + 0.5, labels * 2):
        with pytest.raises((TypeError, ValueError), match=r"labels(\[\d+\] is| holds) .*, expected one"):
            evaluate(model, sequences, wrong)
    with pytest.raises(ValueError, match=r"sequences\[0\]\[1\] is -1, expected 0 to 8"):
        predict(model, [[1, -1]])


def test_f1_of_three_classes_does_not_depend_on_which_occur():
    model = classifier(num_classes=3)
    model.params["dense.W"][...] = 0
    model.params["dense.b"][...] = [1, 0, 0]
    assert evaluate(model, [[1], [2]], [0, 0])["f1"] == pytest.approx(1 / 3)
    assert evaluate(model, [[1], [2]], [0, 1])["f1"] == pytest.approx(2 / 9)


def test_a_long_sequence_among_short_ones_costs_what_its_own_words_do():
    model = classifier()
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, V, n) for n in (20_000, *rng.integers(1, 40, 255))]
    logits = predict(model, sequences)
    tracemalloc.start()
    np.testing.assert_allclose(predict(model, sequences), logits)
    together = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    np.testing.assert_allclose(predict(model, sequences[:1]), logits[:1], rtol=1e-5)
    alone = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert together < 1.5 * alone
    np.testing.assert_allclose(predict(model, sequences[1:]), logits[1:], rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_predict_gives_logits_in_the_order_of_the_sequences(batch_size, classes):
    model = classifier(num_classes=classes, dtype="float64")
    sequences = VALIDATION[0]
    logits = predict(model, sequences, batch_size=batch_size)
    alone = np.concatenate([model.forward(sequence[:, None]) for sequence in sequences])
    np.testing.assert_allclose(logits, alone, rtol=1e-12)
    assert logits.dtype == np.float64 and len(logits) == len(sequences)


def test_predict_keeps_the_last_tokens_and_takes_an_empty_sequence_for_an_unknown_word():
    model = classifier(dtype="float64")
    long, empty = np.array([4, 5, 6, 7, 1]), np.array([], int)
    found = predict(model, [long, empty], max_length=2)
    np.testing.assert_allclose(found, [model.forward(ids)[0] for ids in (np.array([[7], [1]]), np.array([[0]]))])


@pytest.mark.parametrize("classes", [2, 3])
def test_evaluate_gives_the_loss_and_scores_of_the_predictions(classes):
    model = classifier(num_classes=classes, dtype="float64", seed=4)
    sequences, labels = data(50, classes=classes)
    logits = predict(model, sequences)
    decided = (logits > 0).astype(int) if classes == 2 else logits.argmax(axis=1)
    scores = evaluate(model, sequences, labels, batch_size=8)
    average = "binary" if classes == 2 else "macro"
    assert scores["loss"] == pytest.approx(model.loss(logits, labels)[0])
    assert scores["accuracy"] == metrics.accuracy(labels, decided)
    assert scores["f1"] == metrics.f1(labels, decided, average)
    assert scores["precision"] == metrics.precision(labels, decided, average)
    assert scores["recall"] == metrics.recall(labels, decided, average)


def test_history_prints_as_a_table_and_goes_to_csv(tmp_path):
    history = run(classifier(), 2)
    path = tmp_path / "new" / "history.csv"
    history.to_csv(path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy", "validation_f1", "seconds"):
        assert [float(row[name]) for row in rows] == history[name]
    header, first, second = str(history).splitlines()
    assert header.split() == list(history.rows[0])
    assert [float(cell) for cell in second.split()] == pytest.approx(list(history.rows[1].values()), rel=1e-5)
    assert str(History()) == "no epochs" and len(History()) == 0


def test_tokens_per_second_counts_real_tokens(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(clock)))
    history = run(classifier(), 1, validation=None)
    assert history["seconds"] == [1.0] and history["tokens_per_second"] == [sum(map(len, TRAIN[0]))]


def test_progress_bars_show_loss_accuracy_and_speed(capsys, monkeypatch):
    for axis in ("COLUMNS", "LINES"):  # a narrow console cuts the figures off
        monkeypatch.setenv(axis, "200")
    monkeypatch.setattr(training, "progress_bar", partial(training.progress_bar, mininterval=0))
    run(classifier(), 1, progress=True, batch_size=4)
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown and "loss 0." in shown and "accuracy 0." in shown and "tokens/s" in shown
    run(classifier(), 1)
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_as_often_as_tqdm_wants_not_for_each_figure(capsys, monkeypatch):
    monkeypatch.setattr(training, "progress_bar", partial(training.progress_bar, mininterval=1000))
    run(classifier(), 1, progress=True, batch_size=1)
    assert 1 <= capsys.readouterr().err.count("epoch 1/1") <= 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": 0.01}, TypeError, "optimizer is 0.01"),
        ({"optimizer": Adam}, TypeError, "optimizer is <class"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"epochs": 1.5}, ValueError, "epochs is 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"max_length": 0}, ValueError, "max_length is 0"),
        ({"monitor": "f2"}, ValueError, "monitor is 'f2'"),
        ({"patience": -1}, ValueError, "patience is -1"),
        ({"patience": 1, "validation": None}, ValueError, "patience is given, expected validation data"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm is 0.0"),
        ({"clip_norm": "1"}, TypeError, "clip_norm is '1'"),
        ({"schedule": 0.1}, TypeError, "schedule is 0.1"),
        ({"callbacks": print}, TypeError, "callbacks is <built-in function print>, expected a list"),
        ({"progress": "no"}, TypeError, "progress is 'no', expected True or False"),
        ({"callbacks": [print, None]}, TypeError, r"callbacks\[1\] is None"),
        ({"seed": "x"}, TypeError, "seed is 'x'"),
        ({"seed": True}, TypeError, "seed is True"),
        ({"epochs": True}, ValueError, "epochs is True"),
        ({"plateau": 0.5}, TypeError, r"plateau is 0.5, expected a schedules.Plateau"),
        ({"checkpoint": 5}, TypeError, "checkpoint is 5, expected a path"),
        ({"resume": "no"}, TypeError, "resume is 'no', expected True or False"),
        ({"resume": True}, ValueError, "resume is True, expected the path of a checkpoint"),
        ({"train": TRAIN[0]}, TypeError, "train is list, expected the pair"),
        ({"train": ([], [])}, ValueError, "train"),
        ({"train": (TRAIN[0], TRAIN[1][:-1])}, ValueError, r"train labels has shape \(119,\)"),
        ({"train": (TRAIN[0], TRAIN[1] * 0.5)}, ValueError, r"train labels\[\d+\] is 0.5, expected one of \[0, 1\]"),
        ({"train": (TRAIN[0], TRAIN[1] + 1)}, ValueError, r"train labels\[\d+\] is 2, expected one of \[0, 1\]"),
        ({"train": (TRAIN[0], -TRAIN[1])}, ValueError, r"train labels\[\d+\] is -1"),
        (
            {"train": ([*TRAIN[0][:-1], np.array([1, V])], TRAIN[1])},
            ValueError,
            r"train sequences\[119\]\[1\] is 9, expected 0 to 8",
        ),
        ({"train": ([np.array([-1]), *TRAIN[0][1:]], TRAIN[1])}, ValueError, r"train sequences\[0\]\[0\] is -1"),
        ({"train": ([np.array([0.5]), *TRAIN[0][1:]], TRAIN[1])}, TypeError, r"train sequences\[0\] has dtype"),
        ({"validation": (VALIDATION[0], VALIDATION[1] + 1)}, ValueError, r"validation labels\[\d+\] is 2"),
        ({"validation": ([np.array([V])], [0])}, ValueError, r"validation sequences\[0\]\[0\] is 9"),
    ],
)
def test_bad_input_is_named_before_any_work_is_done(options, error, message, monkeypatch, tmp_path):
    model = classifier()
    before, random_state = bits(model), model.rng.bit_generator.state
    if "resume" not in options:
        options = {"checkpoint": tmp_path / "run.npz", **options}
    with pytest.raises(error, match=message):
        run(model, **options)
    assert_same_bits(bits(model), before)
    assert model.rng.bit_generator.state == random_state and not (tmp_path / "run.npz").exists()


class Counting:
    """Batches of numbers, in a new order each time, drawn from its `rng`."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.x = np.random.default_rng(1).standard_normal((24, 3))

    def __len__(self):
        return 6

    def __iter__(self):
        for rows in self.rng.permutation(24).reshape(6, 4):
            yield self.x[rows]


class Line:
    """A user's own model: least squares on x @ w = 1, with noise of its own; no more than `Trainable` asks for."""

    def __init__(self):
        self.params, self.grads = {"w": np.zeros(3)}, {"w": np.zeros(3)}
        self.rng = np.random.default_rng(7)

    def batch_loss(self, batch, train=False):
        error = batch @ self.params["w"] - 1 + (0.1 * self.rng.standard_normal(len(batch)) if train else 0)

        def back():
            self.grads["w"][...] = 2 * batch.T @ error / len(batch)

        return (error**2).mean(), back, {"largest": abs(error).max()}


def test_a_model_of_ones_own_is_trained_as_one_would_by_hand():
    model, twin = Line(), Line()
    history = fit(model, Counting(), optimizer=SGD(0.1), epochs=3, progress=False)
    batches = Counting()
    for epoch in range(3):
        losses = []
        for batch in batches:
            loss, back, _ = twin.batch_loss(batch, train=True)
            back()
            twin.params["w"] -= 0.1 * twin.grads["w"]
            losses.append(loss)
        assert history["loss"][epoch] == pytest.approx(np.mean(losses), rel=1e-12)
    np.testing.assert_allclose(model.params["w"], twin.params["w"], rtol=1e-12)
    assert list(history.rows[0]) == ["epoch", "loss", "largest", "gradient_norm", "learning_rate", "seconds"]


def test_a_model_of_ones_own_resumes_to_the_same_bits_and_ends_with_its_best_epoch(tmp_path):
    def run_line(model, epochs, **options):
        return fit(model, Counting(), Counting(3), optimizer=Adam(0.1), epochs=epochs, progress=False, **options)

    whole, stopped, resumed = Line(), Line(), Line()
    run_line(whole, 5)
    run_line(stopped, 2, checkpoint=tmp_path / "run.npz")
    history = run_line(resumed, 5, checkpoint=tmp_path / "run.npz", resume=True)
    assert len(history) == 5
    assert np.array_equal(resumed.params["w"], whole.params["w"])
    scores = training.scores_of(whole, Counting(3))
    assert scores["loss"] == pytest.approx(min(history["validation_loss"]), rel=1e-12)


def test_what_a_model_of_ones_own_cannot_be_trained_on_is_named():
    with pytest.raises(TypeError, match="train is int, expected an iterable of batches"):
        fit(Line(), 3, optimizer=SGD(0.1))
    with pytest.raises(TypeError, match="train can be gone through only once"):
        fit(Line(), iter(Counting()), optimizer=SGD(0.1))
    with pytest.raises(ValueError, match="train gives no batches"):
        fit(Line(), [], optimizer=SGD(0.1), progress=False)
    with pytest.raises(ValueError, match="monitor is 'f1', expected one of 'loss', 'largest'"):
        fit(Line(), Counting(), Counting(), optimizer=SGD(0.1), monitor="f1", progress=False)
    model = Line()
    model.params["w"][0] = np.nan
    with pytest.raises(NonFiniteLoss, match="epoch 1, batch 1; the first that is not finite is the parameter w"):
        fit(model, Counting(), optimizer=SGD(0.1), progress=False)


def test_a_schedule_that_differs_late_makes_another_run(tmp_path):
    path = tmp_path / "run.npz"
    for every in (2000, 5000):
        options = {"schedule": step_schedule(0.1, every), "checkpoint": path, "resume": True}
        if every == 2000:
            run(classifier(), 1, **options)
        else:
            with pytest.raises(ValueError, match="its schedule is"):
                run(classifier(), 2, **options)


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (None, TypeError, r"schedule\(3\) is None"),
        ("fast", TypeError, r"schedule\(3\) is one string"),
        (1j, ValueError, r"schedule\(3\) has dtype complex128"),
        (np.array([0.1, 0.2]), TypeError, r"schedule\(3\) is array"),
        (np.nan, ValueError, r"schedule\(3\) is nan, expected a number of at least 0"),
        (np.inf, ValueError, r"schedule\(3\) is inf"),
        (-0.1, ValueError, r"schedule\(3\) is -0.1"),
    ],
)
def test_a_schedule_that_gives_no_rate_is_named(rate, error, message):
    with pytest.raises(error, match=message):
        run(classifier(), 1, schedule=lambda update: rate if update == 3 else 0.1)


def test_callbacks_may_be_a_generator():
    called = []
    run(classifier(), 2, callbacks=(lambda model, row: called.append(row["epoch"]) for _ in range(2)))
    assert called == [1, 1, 2, 2]


def test_a_users_schedule_is_called_for_the_updates_and_for_nothing_else():
    seen = []
    run(classifier(), 1, schedule=lambda update: seen.append(update) or 0.1)
    assert seen == list(range(8))


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_any_generator_goes_into_a_checkpoint_and_back(kind, tmp_path):
    """Some keep arrays in their state."""

    def with_rng():
        model = dropping()
        model.rng = np.random.Generator(kind(3))
        for layer in (model.embedding_dropout, model.recurrent, model.dropout):
            layer.rng = model.rng
        return model

    right, first, later = with_rng(), with_rng(), with_rng()
    run(right, epochs=3)
    run(first, epochs=1, checkpoint=tmp_path / "run.npz")
    run(later, epochs=3, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same_bits(bits(later), bits(right))


@pytest.mark.parametrize("sequences", [[[], [], []], [[0], [0, 0], []]])
def test_sequences_without_a_known_word_are_nothing_to_learn_from(sequences):
    model = classifier()
    with pytest.raises(ValueError, match="train sequences hold no token but 0, the unknown word"):
        training.fit(model, (sequences, [0, 1, 0]), optimizer=Adam(), progress=False)
    assert predict(model, sequences).shape == (3,) and "loss" in evaluate(model, sequences, [0, 1, 0])


def changed_by(model, before):
    return {name for name, array in model.params.items() if (array != before[name]).any()}


def test_a_frozen_table_stays_to_the_bit_and_makes_no_part_of_the_norm():
    table = np.random.default_rng(3).standard_normal((V, 6))
    model, twin = (classifier(embeddings=table, freeze=frozen) for frozen in (True, False))
    before = bits(model)
    optimizer = Adam(0.01)
    history = run(model, 1, optimizer, None, batch_size=120)
    assert changed_by(model, before) == model.params.keys() - {"embedding.E"}
    assert not [key for key in optimizer.state_dict() if key.startswith("embedding")]
    batch = next(iter(training.Batches(*TRAIN, batch_size=120, shuffle=True, seed=0)))
    twin.batch_loss(batch, train=True)[1]()
    learning = {name: gradient for name, gradient in twin.grads.items() if name != "embedding.E"}
    assert history["gradient_norm"][0] == pytest.approx(training.norm_and(learning)[0], rel=1e-5)


def test_parameters_learn_from_the_epoch_that_unfreeze_says():
    model = classifier(num_layers=2)
    seen = [bits(model)]
    unfreeze = {"recurrent": 2, "recurrent.W_l0": 3, "embedding": 3}
    run(model, 3, None, None, unfreeze=unfreeze, callbacks=[lambda model, row: seen.append(bits(model))])
    expected = [{"dense.W", "dense.b"}]
    expected.append({name for name in model.params if name not in ("recurrent.W_l0", "embedding.E")})
    expected.append(set(model.params))
    for before, after, names in zip(seen, seen[1:], expected):
        assert {name for name in after if (after[name] != before[name]).any()} == names
    assert model.fixed == frozenset()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_with_frozen_and_late_parameters_goes_on_to_the_same_bits(stop, tmp_path):
    options = {"unfreeze": {"recurrent": 3}, "clip_norm": 0.5}
    whole, part, rest = (dropping(embeddings=np.ones((V, 6)), freeze=True) for _ in range(3))
    run(whole, 4, **options)
    run(part, stop, checkpoint=tmp_path / "c.npz", **options)
    run(rest, 4, checkpoint=tmp_path / "c.npz", resume=True, **options)
    assert_same_bits(bits(rest), bits(whole))
    with pytest.raises(ValueError, match="another run: its unfreeze is {'recurrent': 3}, here it is None"):
        run(rest, 4, checkpoint=tmp_path / "c.npz", resume=True, clip_norm=0.5)


@pytest.mark.parametrize(
    ("unfreeze", "error", "message"),
    [
        ({"recurent": 2}, ValueError, "unfreeze holds 'recurent', with which no parameter begins: embedding.E, "),
        ({"dense": 0}, ValueError, r"unfreeze\['dense'\] is 0, expected at least 1"),
        ({"dense": 1.5}, TypeError, r"unfreeze\['dense'\] is 1.5, expected a whole number"),
        (["dense"], TypeError, r"unfreeze is \['dense'\], expected a dict"),
        ({"": 2}, ValueError, "no parameter learns in epoch 1"),
    ],
)
def test_what_is_no_schedule_of_parameters_is_named(unfreeze, error, message):
    model = classifier()
    before = bits(model)
    with pytest.raises(error, match=message):
        run(model, unfreeze=unfreeze)
    assert_same_bits(bits(model), before)


@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_what_is_validated_called_back_with_and_kept_are_the_averaged_weights(validation):
    model, twin = dropping(), dropping()
    seen = []
    history = run(model, 2, None, validation, average=0.9, callbacks=[lambda model, row: seen.append(bits(model))])
    raw, optimizer, batches = [], Adam(0.01), training.Batches(*TRAIN, batch_size=16, shuffle=True, seed=0)
    for epoch in range(2):
        for batch in batches:
            twin.batch_loss(batch, train=True)[1]()
            optimizer.step(twin.params, twin.grads)
            raw.append(bits(twin))
        weights = 0.9 ** np.arange(len(raw))[::-1]
        for name, array in seen[epoch].items():
            expected = sum(weight * step[name].astype(float) for weight, step in zip(weights, raw)) / weights.sum()
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6)
    assert_same_bits(bits(model), seen[history.best_epoch - 1])
    if validation is not None:
        found = evaluate(model, *validation)["loss"]
        assert found == pytest.approx(history["validation_loss"][history.best_epoch - 1], rel=1e-5)


@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_a_run_with_averaged_weights_goes_on_to_the_same_bits(validation, tmp_path, monkeypatch):
    whole, part, rest = dropping(), dropping(), dropping(seed=4)
    options = {"average": 0.95, "validation": validation, "unfreeze": {"embedding": 2}}
    run(whole, 3, **options)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 19)
        with pytest.raises(KeyboardInterrupt):
            run(part, 3, checkpoint=tmp_path / "c.npz", **options)
    run(rest, 3, checkpoint=tmp_path / "c.npz", resume=True, **options)
    assert_same_bits(bits(rest), bits(whole))
    with pytest.raises(ValueError, match="its average is 0.95, here it is None"):
        run(rest, 3, checkpoint=tmp_path / "c.npz", resume=True, **{**options, "average": None})


@pytest.mark.parametrize("average", [0.0, 1.01, True])
def test_an_average_that_cannot_be_is_named(average):
    with pytest.raises((ValueError, TypeError), match="average is .*, expected a number"):
        run(classifier(), average=average)


def averaged_weights_that(change, tmp_path):
    path = tmp_path / "run.npz"
    run(classifier(), 1, average=0.9, checkpoint=path)
    header, arrays = files.load_arrays(path, checkpoints.CHECKPOINT)
    change(arrays)
    files.save_arrays(path, header, arrays)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("average/dense.b"),
        lambda arrays: arrays.update({"average/dense.c": np.zeros(1, np.float32)}),
        lambda arrays: arrays.update({"average/dense.b": np.zeros(2, np.float32)}),
        lambda arrays: arrays.update({"average/dense.b": np.full(1, np.nan, np.float32)}),
    ],
)
def test_damaged_averages_are_refused(change, tmp_path):
    path, model = averaged_weights_that(change, tmp_path), classifier(seed=3)
    before = bits(model)
    with pytest.raises(ValueError, match=r"run\.npz.*average"):
        run(model, 2, average=0.9, checkpoint=path, resume=True)
    assert_same_bits(bits(model), before)
