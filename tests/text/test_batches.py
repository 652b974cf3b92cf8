"""Every sequence comes once in each pass, longest first in its batch, with its own label; order follows the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnscratch.text import Batches, keep_last, pad
from rnnscratch.text.batches import POOL


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
        with pytest.raises(ValueError, match=r"sequences\[1\] has shape \(1, 2\), expected \(length,\)"):
            call([good[0], np.array([[1, 2]])])
    with pytest.raises(ValueError, match=r"sequences\[1\] is empty"):
        pad([good[0], np.array([], int)])
    with pytest.raises(ValueError, match="labels has 3 entries, expected 2"):
        Batches(good, [0, 1, 0])
    for size in (0, -1, 2.0):
        with pytest.raises(ValueError, match=f"batch_size is {size}, expected a whole number of at least 1"):
            Batches(good, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_length is -3, expected a whole number"):
        Batches(good, max_length=-3)
