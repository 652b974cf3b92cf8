"""Every sequence comes once in each pass, longest first in its batch, with its own label; order follows the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.text import Batches, keep_last, pad
from rnnscratch.text.batches import FREE, POOL, STEPS


def _sequences(lengths: list[int]) -> list[np.ndarray]:
    """Sequence k holds 1000 k + 1, 1000 k + 2, ..., so that every token says where it belongs."""
    return [np.arange(1, length + 1) + 1000 * k for k, length in enumerate(lengths)]


def test_padding_puts_time_first_and_zeros_past_each_end() -> None:
    ids, lengths = pad([np.array([5, 6]), np.array([7]), np.array([1, 2, 3])])
    assert ids.tolist() == [[5, 7, 1], [6, 0, 2], [0, 0, 3]]
    assert lengths.tolist() == [2, 1, 3]
    assert ids.dtype == np.int64 and ids.flags.c_contiguous


def test_the_last_tokens_are_kept_and_an_empty_text_is_one_unknown_token() -> None:
    sequence = np.array([1, 2, 3])
    assert keep_last(sequence, 2).tolist() == [2, 3]
    assert keep_last(sequence, 3).tolist() == keep_last(sequence, 9).tolist() == [1, 2, 3]
    assert keep_last(sequence, None).tolist() == [1, 2, 3]
    for empty in (np.array([]), np.array([], np.int64)):
        assert keep_last(empty, 2).tolist() == [0] and keep_last(empty, None).dtype == np.int64
    with pytest.raises(ValueError, match="max_length is 0, expected at least 1"):
        keep_last(sequence, 0)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.integers(1, 9),
    st.booleans(),
    st.none() | st.integers(1, 8),
    st.integers(0, 3),
)
def test_a_pass_brings_every_sequence_once_with_its_tokens_length_and_label(
    lengths: list[int], batch_size: int, shuffle: bool, max_length: int | None, seed: int
) -> None:
    sequences = _sequences(lengths)
    labels = np.arange(len(lengths)) * 7
    batches = Batches(sequences, labels, batch_size, shuffle, seed, max_length)
    seen: list[int] = []
    found = list(batches)
    assert len(found) == len(batches)
    for batch in found:
        seen += batch.indices.tolist()
        assert 1 <= len(batch.indices) <= batch_size
        assert batch.ids.shape == (batch.lengths.max(), len(batch.indices))
        assert (np.diff(batch.lengths) <= 0).all()
        assert batch.labels is not None and batch.labels.tolist() == [7 * index for index in batch.indices]
        for column, (index, length) in enumerate(zip(batch.indices, batch.lengths, strict=True)):
            expected = sequences[index] if max_length is None else sequences[index][-max_length:]
            assert batch.ids[:length, column].tolist() == (expected.tolist() or [0])
            assert not batch.ids[length:, column].any()
    assert sorted(seen) == list(range(len(lengths)))


def test_without_shuffling_all_come_longest_first_every_time() -> None:
    batches = Batches(_sequences([3, 1, 4, 1, 5]), batch_size=2)
    for _ in range(2):
        found = list(batches)
        assert [batch.indices.tolist() for batch in found] == [[4, 2], [0, 1], [3]]
        assert all(batch.labels is None for batch in found)


def test_the_seed_decides_the_order_and_every_pass_draws_a_new_one() -> None:
    sequences = _sequences([k % 17 + 1 for k in range(300)])

    def orders(seed: int | np.random.Generator) -> list[list[int]]:
        batches = Batches(sequences, batch_size=8, shuffle=True, seed=seed)
        return [[int(index) for batch in batches for index in batch.indices] for _ in range(2)]

    first = orders(1)
    assert first == orders(1) == orders(np.random.default_rng(1))
    assert first[0] != first[1]
    assert first != orders(2)


def test_shuffled_batches_waste_little_on_padding_and_mix_more_than_one_pool(rng: np.random.Generator) -> None:
    lengths = rng.integers(1, 200, 4 * POOL * 8)
    batches = Batches([np.ones(length, int) for length in lengths], batch_size=8, shuffle=True, seed=0)
    found = list(batches)
    assert sum(batch.ids.size for batch in found) < 1.05 * lengths.sum()
    firsts = [int(batch.lengths[0]) for batch in found]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)
    means = np.array([np.mean(firsts[k : k + POOL]) for k in range(0, len(firsts), POOL)])
    assert np.ptp(means) < 60  # sorted by length throughout, these would lie 150 apart
    positions = np.concatenate([batch.indices for batch in found[:POOL]])
    assert np.ptp(positions) > 0.9 * len(lengths)


def test_data_are_neither_changed_nor_shared() -> None:
    sequences = _sequences([2, 3])
    before = [sequence.copy() for sequence in sequences]
    for batch in Batches(sequences, shuffle=True, seed=0):
        batch.ids[...] = -1
    assert all((now == then).all() for now, then in zip(sequences, before, strict=True))


def test_wrong_arguments_are_named() -> None:
    good = _sequences([2, 3])
    for call in (Batches, pad):
        with pytest.raises(ValueError, match="sequences is empty"):
            call([])
        with pytest.raises(TypeError, match=r"sequences\[1\] has dtype float64, expected integers"):
            call([good[0], np.array([1.5])])
        with pytest.raises(TypeError, match=r"sequences\[0\] has dtype bool"):
            call([np.array([True])])
        with pytest.raises(ValueError, match=r"sequences\[1\] has shape \(1, 2\), expected one row or column"):
            call([good[0], np.array([[1, 2]])])
    with pytest.raises(ValueError, match=r"sequences\[1\] is empty"):
        pad([good[0], np.array([], int)])
    with pytest.raises(ValueError, match=r"labels has shape \(3,\), expected \(2,\): one for each example"):
        Batches(good, [0, 1, 0])
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size is {size}, expected at least 1"):
            Batches(good, batch_size=size)
    for size in (2.0, "2", None, True, float("nan")):
        with pytest.raises(TypeError, match=f"batch_size is {size!r}, expected a whole number"):
            Batches(good, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="shuffle is 'no', expected True or False"):
        Batches(good, shuffle="no")  # type: ignore[arg-type]
    for ids in ([1, 2**63], np.array([1, 2**63], np.uint64)):
        for call in (Batches, pad):
            with pytest.raises((TypeError, ValueError), match=r"sequences\[1\].*"):
                call([good[0], ids])
    with pytest.raises(ValueError, match="max_length is -3, expected at least 1"):
        Batches(good, max_length=-3)
    for wrong in ({0: [1]}, {1, 2}, "abc", 5, None):
        with pytest.raises(TypeError, match="sequences is"):
            Batches(wrong)
    with pytest.raises(ValueError, match=r"sequences\[1\]\[0\] is missing"):
        Batches([[1], [None]])
    with pytest.raises(ValueError, match=r"labels\[1\] is not finite"):
        Batches(good, [0, None])


def test_sequences_and_labels_come_from_any_container_and_by_position() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas comes with the test extra")
    torch = pytest.importorskip("torch", reason="PyTorch comes with the test extra")
    lists = [[5, 6], [7], [1, 2, 3]]
    labels = [0, 1, 2]
    for container, answers in (
        (lists, pandas.Series(labels, index=[2, 1, 0])),
        (iter(lists), iter(labels)),
        ((np.array(each, np.uint8) for each in lists), torch.tensor(labels)),
        ([torch.tensor(each) for each in lists], pandas.DataFrame({"y": labels}, index=[7, 7, 7])),
        (pandas.Series(lists, index=[2, 1, 0]), np.array(labels, np.int8)),
        (pandas.DataFrame({"ids": lists}), pandas.Index(labels)),
        ([pandas.Series(each, index=each[::-1]) for each in lists], tuple(labels)),
    ):
        (batch,) = Batches(container, answers)
        assert batch.ids.tolist() == [[1, 5, 7], [2, 6, 0], [3, 0, 0]]
        assert batch.labels is not None and batch.labels.tolist() == [2, 0, 1]
    for rows in (np.array([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]])):
        assert pad(rows)[0].tolist() == [[1, 3], [2, 4]]
    assert Batches(lists, list("abc")).summary() != Batches(lists, list("abd")).summary()


@given(st.lists(st.integers(1, 20) | st.sampled_from([400, 3000, 200_000]), min_size=1, max_size=300))
def test_unshuffled_batches_cost_what_their_tokens_do(lengths: list[int]) -> None:
    batches = Batches([np.broadcast_to(np.int64(k), length) for k, length in enumerate(lengths)], batch_size=256)
    planned = batches._plan()
    assert len(planned) == len(batches) and sorted(np.concatenate(planned).tolist()) == list(range(len(lengths)))
    for indices in planned:
        real = batches.lengths[indices]
        steps = real.max() * len(real)
        assert len(real) == 1 or steps <= STEPS and (steps <= FREE or steps <= 2 * real.sum())
    assert len(planned) <= len(lengths) / 256 + sum(lengths) / STEPS * 2 + 20
