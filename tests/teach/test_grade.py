"""Points for learners' functions: right ones get all, each bug costs what it spoils and is named at its line."""

from __future__ import annotations

import doctest
import sys

import numpy as np
import pytest

import rnnscratch as rs
from rnnscratch.teach import grade, tasks


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn_step(x, h_prev, W, U, b):
    return np.tanh(x @ W + h_prev @ U + b)


def rnn_step_backward(dh, x, h_prev, W, U, b):
    dz = dh * (1 - rnn_step(x, h_prev, W, U, b) ** 2)
    return dz @ W.T, dz @ U.T, x.T @ dz, h_prev.T @ dz, dz.sum(axis=0)


def lstm_gates(x, h_prev, W, U, b):
    i, f, o, g = np.split(x @ W + h_prev @ U + b, 4, axis=1)
    return sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)


def lstm_step(x, h_prev, c_prev, W, U, b):
    i, f, o, g = lstm_gates(x, h_prev, W, U, b)
    c = f * c_prev + i * g
    return o * np.tanh(c), c


def lstm_step_backward(dh, dc_next, x, h_prev, c_prev, W, U, b):
    i, f, o, g = lstm_gates(x, h_prev, W, U, b)
    tanh_c = np.tanh(f * c_prev + i * g)
    dc = dh * o * (1 - tanh_c**2) + dc_next
    slopes = [dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g**2)]
    dz = np.concatenate(slopes, axis=1)
    return dz @ W.T, dz @ U.T, dc * f, x.T @ dz, h_prev.T @ dz, dz.sum(axis=0)


def gru_gates(x, h_prev, W, U, b):
    H = h_prev.shape[1]
    r, z = np.split(sigmoid(x @ W[:, : 2 * H] + h_prev @ U[:, : 2 * H] + b[: 2 * H]), 2, axis=1)
    return r, z, np.tanh(x @ W[:, 2 * H :] + (r * h_prev) @ U[:, 2 * H :] + b[2 * H :])


def gru_step(x, h_prev, W, U, b):
    r, z, n = gru_gates(x, h_prev, W, U, b)
    return z * h_prev + (1 - z) * n


def gru_step_backward(dh, x, h_prev, W, U, b):
    r, z, n = gru_gates(x, h_prev, W, U, b)
    H = h_prev.shape[1]
    dz_n = dh * (1 - z) * (1 - n**2)
    d_rh = dz_n @ U[:, 2 * H :].T
    dz_rz = np.concatenate([d_rh * h_prev * r * (1 - r), dh * (h_prev - n) * z * (1 - z)], axis=1)
    dz = np.concatenate([dz_rz, dz_n], axis=1)
    dU = np.concatenate([h_prev.T @ dz_rz, (r * h_prev).T @ dz_n], axis=1)
    return dz @ W.T, dh * z + d_rh * r + dz_rz @ U[:, : 2 * H].T, x.T @ dz, dU, dz.sum(axis=0)


def sequence(step, step_back, states):
    """The backward pass through a sequence, from those of a step."""

    def backward(dhs, *rest):
        ends, x, before, weights = rest[:states], rest[states], rest[states + 1 : 2 * states + 1], rest[-3:]
        kept, now = [], before
        for x_t in x:
            kept.append(now)
            after = step(x_t, *now, *weights)
            now = after if states > 1 else (after,)
        d, dx, total = list(ends), np.zeros_like(x), [np.zeros_like(each) for each in weights]
        for t in reversed(range(len(x))):
            dx[t], *found = step_back(d[0] + dhs[t], *d[1:], x[t], *kept[t], *weights)
            d, gradients = found[:states], found[states:]
            total = [a + g for a, g in zip(total, gradients)]
        return dx, *d, *total

    return backward


def softmax_cross_entropy(logits, targets):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    one_hot = np.eye(logits.shape[1])[targets]
    return -(log_p * one_hot).sum() / len(targets), (np.exp(log_p) - one_hot) / len(targets)


def embedding_backward(dx, ids, V):
    dE = np.zeros((V, dx.shape[2]))
    np.add.at(dE, ids, dx)
    return dE


def attention_backward(dcontext, q, k, v):
    scores = np.einsum("tba,sba->tbs", q, k)
    weights = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    dweights = np.einsum("tbm,sbm->tbs", dcontext, v)
    dscores = weights * (dweights - (weights * dweights).sum(axis=2, keepdims=True))
    return {
        "scores": scores,
        "weights": weights,
        "context": np.einsum("tbs,sbm->tbm", weights, v),
        "dweights": dweights,
        "dscores": dscores,
        "dq": np.einsum("tbs,sba->tba", dscores, k),
        "dk": np.einsum("tbs,tba->sba", dscores, q),
        "dv": np.einsum("tbs,tbm->sbm", weights, dcontext),
    }


SOLUTIONS = {
    "rnn_step": rnn_step,
    "rnn_step_backward": rnn_step_backward,
    "rnn_backward": sequence(rnn_step, rnn_step_backward, 1),
    "lstm_step": lstm_step,
    "lstm_step_backward": lstm_step_backward,
    "lstm_backward": sequence(lstm_step, lstm_step_backward, 2),
    "gru_step": gru_step,
    "gru_step_backward": gru_step_backward,
    "gru_backward": sequence(gru_step, gru_step_backward, 1),
    "softmax_cross_entropy": softmax_cross_entropy,
    "embedding_backward": embedding_backward,
    "attention_backward": attention_backward,
}


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("task", SOLUTIONS)
def test_a_right_function_gets_all_points(task, seed):
    assert set(SOLUTIONS) == set(tasks())
    found = grade(SOLUTIONS[task], task, seed=seed)
    assert found.passed, found
    chosen = tasks()[task]
    assert found.points == found.out_of == len(chosen.sizes) * len(chosen.outputs) > 3
    assert found.difference is None and all(case.message == "" for case in found.cases)
    assert str(found).startswith(f"{task}: {found.points} of {found.out_of} points")


def test_as_a_dict_all_intermediates_may_come_too():
    def by_name(dh, x, h_prev, W, U, b):
        h = np.tanh(x @ W + h_prev @ U + b)
        dz = dh * (1 - h**2)
        found = {"h": h, "dz": dz, "dx": dz @ W.T, "dh_prev": dz @ U.T, "dW": x.T @ dz, "dU": h_prev.T @ dz}
        return found | {"db": dz.sum(axis=0)}

    assert grade(by_name, "rnn_step_backward").passed

    def wrong(*arguments):
        return by_name(*arguments) | {"dz": 2 * by_name(*arguments)["dz"]}

    found = grade(wrong, "rnn_step_backward")
    assert found.passed and found.difference.name == "dz" and found.difference.formula == "dh (1 - h^2)"


def changed(function, **swaps):
    """The function whose outputs, by place, are changed."""

    def call(*arguments):
        outputs = list(function(*arguments))
        for place, change in swaps.items():
            outputs[int(place[1:])] = change(outputs[int(place[1:])])
        return tuple(outputs)

    return call


def test_each_wrong_output_costs_its_points():
    found = grade(changed(lstm_step_backward, _3=lambda dW: -dW), "lstm_step_backward")
    assert (found.points, found.out_of, found.passed) == (25, 30, False)
    assert [case.message for case in found.cases] == ["wrong: dW"] * 5
    assert found.difference.name == "dW" and found.difference.ratio == pytest.approx(-1)
    assert "should be  sum over t of dW_t   (Eq. 8)" in str(found) and "25 of 30 points" in str(found)
    found = grade(changed(lstm_step_backward, _3=np.negative, _0=np.negative), "lstm_step_backward")
    assert found.points == 20 and found.difference.name == "dx"  # the first in the order of the pass


def test_bugs_of_a_sequence_are_seen_by_the_cases_that_show_them():
    def forgets(dh, dc_next, *rest):  # what arrives at c from the next step
        return lstm_step_backward(dh, np.zeros_like(dc_next), *rest)

    found = grade(sequence(lstm_step, forgets, 2), "lstm_backward")
    assert not found.passed and found.cases[0].points == 0
    zero_start = sequence(rnn_step, lambda dh, x, h_prev, *w: rnn_step_backward(dh, x, 0 * h_prev, *w), 1)
    assert not grade(zero_start, "rnn_backward").passed  # states before the first step are not 0
    found = grade(lambda dx, ids, V: np.array([dx[ids == k][-1:].sum(axis=0) for k in range(V)]), "embedding_backward")
    assert found.points == 0 and found.difference.name == "dE"
    found = grade(lambda z, y: softmax_cross_entropy(z, y)[:1] * 2, "softmax_cross_entropy")
    assert found.points == 4 and found.cases[0].message.startswith("wrong: dlogits")


def naive(logits, targets):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot = np.eye(logits.shape[1])[targets]
    return -np.log((p * one_hot).sum(axis=1)).mean(), (p - one_hot) / len(targets)


def test_warnings_are_told_and_do_not_reach_the_page(capfd):
    with np.errstate(all="warn"):
        found = grade(naive, "softmax_cross_entropy")
    assert found.points == 6 and "warns: overflow encountered in exp" in found.cases[3].message
    assert "not finite" in found.difference.hint and capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *a: 1 / 0, "ZeroDivisionError: division by zero (line "),
        (lambda *a: sys.exit("done"), "SystemExit: done (line "),
        (lambda x: x, "TypeError: "),
        (lambda *a: {}, "dx is not in the dict; dh_prev is not in the dict"),
        (lambda *a: None, "returned None: is there a return?"),
        (lambda *a: (a[0],), "returned 1 things, expected 5: dx, dh_prev, dW, dU, db"),
        (lambda *a: 3.0, "returned float, expected dx, dh_prev, dW, dU, db"),
        (lambda *a: dict(zip(("dx", "dh_prev", "dW", "dU"), rnn_step_backward(*a))), "db is not in the dict"),
        (lambda *a: ("text", *rnn_step_backward(*a)[1:]), "dx"),
    ],
)
def test_a_function_that_does_not_work_loses_points_and_says_why(function, message):
    found = grade(function, "rnn_step_backward")
    assert not found.passed and all(message in case.message for case in found.cases), found
    assert found.points == (20 if message in ("dx", "db is not in the dict") else 0)


def test_a_function_that_changes_its_arguments_is_told_and_harms_nothing():
    def greedy(x, h_prev, W, U, b):
        h = rnn_step(x, h_prev, W, U, b)
        h_prev[...] = h
        return h

    found = grade(greedy, "rnn_step")
    assert found.passed and found.cases[0].message == "changes its argument h_prev"


def test_an_unknown_name_in_a_dict_is_told():
    def call(*arguments):
        return dict(zip(("dx", "dh_prev", "dW", "dU", "db"), rnn_step_backward(*arguments))) | {"dq": 1}

    found = grade(call, "rnn_step_backward")
    assert found.passed and "there is no 'dq'; the names are z, h, dh (output)" in found.cases[0].message


def test_the_numbers_follow_from_the_seed():
    seen = []
    for seed in (0, 0, 1):
        grade(lambda x, *rest: seen.append(x) or rnn_step(x, *rest), "rnn_step", seed=seed)
    first, again, other = seen[:5], seen[5:10], seen[10:]
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other))


def test_the_tasks_are_printed_with_their_signatures():
    text = str(tasks())
    assert "lstm_step_backward(dh, dc_next, x, h_prev, c_prev, W, U, b) -> dx, dh_prev, dc_prev, dW, dU, db" in text
    assert "x (T, B, D), h0 (B, H), c0 (B, H), W (D, G H), U (H, G H), b (G H,)" in text and text.isascii()
    drawn = {}
    for name, task in tasks().items():
        grade(lambda *a, name=name: drawn.setdefault(name, a), name)
        for argument, value in zip(task.arguments, drawn[name]):
            letters = task.shape(argument).strip("(),").replace("number", "")
            assert np.ndim(value) == len([each for each in letters.split(", ") if each]), (name, argument)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: grade(3, "rnn_step"), TypeError, "function is int, expected a function"),
        (lambda: grade(rnn_step, "elman"), ValueError, "task is 'elman', expected one of 'rnn_step'"),
        (lambda: grade(rnn_step, "rnn_step", seed=-1), ValueError, "seed is -1"),
    ],
)
def test_wrong_arguments_of_a_teacher_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_it_is_a_line_of_a_doctest():
    """As otter-grader's tests are."""
    text = '>>> grade(rnn_step, "rnn_step").passed\nTrue\n>>> grade(wrong, "rnn_step").passed\nFalse\n'
    names = {"grade": rs.teach.grade, "rnn_step": rnn_step, "wrong": lambda *a: -rnn_step(*a)}
    test = doctest.DocTestParser().get_doctest(text, names, "q1", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test) == (0, 2)


def test_it_grades_in_a_notebook_whose_metadata_stays():
    nbformat = pytest.importorskip("nbformat", reason="it comes with the notebooks extra")
    nbclient = pytest.importorskip("nbclient", reason="it comes with the notebooks extra")

    def test_cell(source, grade_id, points):
        marks = {"grade": True, "solution": False, "locked": True, "schema_version": 3, "cell_type": "code"}
        marks |= {"grade_id": grade_id, "points": points}
        return nbformat.v4.new_code_cell(source, metadata={"nbgrader": marks})

    answer = (
        "import numpy as np\nimport rnnscratch as rs\n"
        "def right(x, h_prev, W, U, b):\n    return np.tanh(x @ W + h_prev @ U + b)\n"
        "def wrong(x, h_prev, W, U, b):\n    return np.tanh(x @ W + h_prev @ U)"
    )
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(answer, metadata={"nbgrader": {"solution": True, "grade": False}}),
            test_cell('assert rs.teach.grade(right, "rnn_step").passed', "all or none", 5),
            test_cell('assert rs.teach.grade(wrong, "rnn_step").passed', "none", 5),
            test_cell('rs.teach.grade(wrong, "rnn_step", seed=1).points', "a share", 5),
            nbformat.v4.new_code_cell('rs.teach.grade(wrong, "rnn_step")'),
        ]
    )
    before = [dict(cell.metadata) for cell in notebook.cells]
    nbclient.NotebookClient(notebook, allow_errors=True, timeout=120, kernel_name="python3").execute()
    for cell, marks in zip(notebook.cells, before):
        assert cell.metadata.get("nbgrader") == marks.get("nbgrader")
    kinds = [[output.output_type for output in cell.outputs] for cell in notebook.cells]
    assert kinds == [[], [], ["error"], ["execute_result"], ["execute_result"]]
    assert notebook.cells[2].outputs[0].ename == "AssertionError"
    assert float(notebook.cells[3].outputs[0].data["text/plain"]) == 0.0
    page = notebook.cells[4].outputs[0].data
    assert "rnn_step: 0 of 5 points" in page["text/plain"] and "h at t = 1 differs" in page["text/html"]
