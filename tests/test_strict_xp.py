"""The fake array module refuses what CuPy refuses, and imitates or refuses where CuPy differs and says nothing.

Each test is one point of what was seen by running real CuPy beside it.
"""

from __future__ import annotations

import numpy as np
import pytest
import strict_xp as xp
from close import close

pytestmark = pytest.mark.skipif(xp.__name__ != "strict_xp", reason="about the fake alone")


@pytest.fixture
def a():
    xp.reset()
    return xp.asarray(np.arange(6.0).reshape(2, 3))


def ids(*values):
    return xp.asarray(np.array(values))


@pytest.mark.parametrize(
    "call",
    [
        lambda a: xp.max(a, initial=0.0),
        lambda a: a.max(axis=0, initial=1.0),
        lambda a: xp.add(a, a, where=a > 0),
        lambda a: a.sum(where=a > 0),
        lambda a: xp.mean(a, where=a > 0),
        lambda a: xp.add(a, a, subok=True),
    ],
)
def test_options_that_cupy_lacks(call, a):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        call(a)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: xp.maximum(a[0], [1, 2, 3]),
        lambda a: a + [1, 2, 3],
        lambda a: a.__setitem__(0, [1.0, 2.0, 3.0]),
        lambda a: xp.where(a > 0, (1, 2, 3), a),
        lambda a: xp.dot(a, [1, 2, 3]),
        lambda a: xp.take(a, [0], axis=0),
        lambda a: xp.sum([1, 2]),
        lambda a: a.fill([1.0]),
    ],
)
def test_lists_are_no_operands(call, a):
    with pytest.raises(TypeError, match="operand is a device array or a number"):
        call(a)


def test_lists_of_arrays_and_shapes_pass(a):
    assert close(xp.stack([a, a]).sum(axis=(0, 1)), np.array([6.0, 10.0, 14.0]))
    assert xp.concatenate((a, a)).shape == (4, 3)
    assert xp.zeros((2, 3)).shape == xp.reshape(a, (2, 3)).shape == a.swapaxes(0, 1).T.shape


def test_a_host_bool_is_no_condition(a):
    with pytest.raises(TypeError, match="condition"):
        xp.where(True, a, a)
    with pytest.raises(TypeError, match="condition"):
        xp.where(np.True_, a, a)


@pytest.mark.parametrize(
    "call",
    [
        lambda n: xp.zeros(n),
        lambda n: xp.zeros((n, 2)),
        lambda n: xp.arange(n),
        lambda n: xp.eye(n),
        lambda n: xp.empty(n),
    ],
)
def test_a_device_number_is_no_size(call):
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        call(ids(3)[0])


def test_sorts_are_stable_or_refused(a):
    assert xp.argsort(a, axis=0, kind="stable").get().tolist() == [[0, 0, 0], [1, 1, 1]]
    with pytest.raises(ValueError, match="kind is 'quicksort'"):
        xp.sort(a, kind="quicksort")
    with pytest.raises(TypeError, match="kind"):
        a.argsort(kind="stable")


@pytest.mark.parametrize("host", [np.array(["a"]), np.array([None]), np.ones(2, np.longdouble), [1, None]])
def test_dtypes_without_kernels(host):
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.asarray(host)


def test_no_array_gets_such_a_dtype(a):
    for dtype in ("U", object, np.longdouble):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            a.astype(dtype)
        with pytest.raises(ValueError, match="Unsupported dtype"):
            xp.empty(3, dtype)


@pytest.mark.parametrize(
    "name",
    [
        "errstate",
        "seterr",
        "insert",
        "block",
        "geomspace",
        "frompyfunc",
        "vecdot",
        "matvec",
        "unstack",
        "nanquantile",
        "ndenumerate",
        "nditer",
        "ma",
        "setxor",
    ],
)
def test_names_that_cupy_lacks(name):
    with pytest.raises(AttributeError, match=f"module 'cupy' has no attribute '{name}'"):
        getattr(xp, name)


def test_what_cupy_has_and_the_fake_does_not_imitate_says_so():
    for name in ("RawKernel", "ElementwiseKernel", "cuda", "linalg", "random"):
        with pytest.raises(AttributeError, match=f"cupy.{name} is there, but strict_xp does not imitate it"):
            getattr(xp, name)


@pytest.mark.parametrize("dtype", ["complex128", "int16", "int8", "bool"])
def test_add_at_has_few_dtypes(dtype):
    with pytest.raises(TypeError, match=r"cupy\.add\.at only supports"):
        xp.add.at(xp.zeros(3, dtype), ids(0, 1), xp.ones(2, dtype))


def test_few_ufuncs_have_at_and_reduce(a):
    with pytest.raises(TypeError, match=r"cupy\.subtract\.at only supports"):
        xp.subtract.at(a, ids(0), a[:1])
    with pytest.raises(NotImplementedError, match=r"cupy_multiply\.at"):
        xp.multiply.at(a, ids(0), a[:1])
    with pytest.raises(NotImplementedError, match=r"cupy_maximum\.reduce"):
        xp.maximum.reduce(a)
    assert close(xp.add.reduce(a), np.array([3.0, 5.0, 7.0]))
    largest = xp.zeros(2)
    xp.maximum.at(largest, ids(1, 1), xp.asarray(np.array([2.0, 1.0])))
    assert largest.get().tolist() == [0.0, 2.0]


def test_clip_has_no_loop_for_complex_numbers(a):
    with pytest.raises(TypeError, match="cupy_clip"):
        xp.clip(a.astype("complex128"), -1, 1)
    assert xp.clip(a, 1.0, 2.0, out=a) is a
    assert a.get().tolist() == [[1, 1, 2], [2, 2, 2]]


def test_arrays_cannot_be_made_read_only(a):
    assert a.flags.c_contiguous and not a.T.flags.c_contiguous
    a.flags.writeable = False
    a += 1
    with pytest.raises(AttributeError, match="writeable"):
        assert a.flags.writeable


def test_a_product_into_a_vector_is_refused(a):
    with pytest.raises(ValueError, match="axes don't match array"):
        xp.matmul(a, xp.ones(3), out=xp.empty(2))
    assert close(a @ xp.ones(3), np.array([3.0, 12.0]))


def test_comparisons_of_whole_arrays_stay_on_the_device(a):
    for found in (xp.array_equal(a, a), xp.allclose(a, a), (a == a).all()):
        assert isinstance(found, xp.ndarray)
        with pytest.raises(xp.HiddenCopyError):
            bool(found)


def test_new_memory_is_garbage():
    try:
        assert np.isnan(xp.empty((2, 3), "f4").get()).all()
        assert np.isnan(xp.empty_like(xp.zeros(3, complex)).get()).all()
        assert (xp.empty(2, "int64").get() == np.frombuffer(b"\x80" * 16, np.int64)).all()
        xp.fill_empty(1e30)
        assert (xp.empty(3).get() == 1e30).all()
        assert xp.empty(3, "int32").get().tolist() == [100, 100, 100]
    finally:
        xp.fill_empty()


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a[ids(0, 2)],
        lambda a: a[ids(-3)],
        lambda a: a[:, ids(3)],
        lambda a: a[None, ..., ids(3)],
        lambda a: a[ids(0), ids(3)],
        lambda a: a.__setitem__(ids(2), 1.0),
        lambda a: xp.take(a, ids(2), axis=0),
        lambda a: a.take(ids(6)),
        lambda a: xp.add.at(a, ids(2), a[:1]),
    ],
)
def test_an_index_out_of_range_is_an_error_of_its_own(call, a):
    with pytest.raises(xp.IndexWraps):
        call(a)


def test_an_assignment_names_each_place_once(a):
    with pytest.raises(xp.DuplicateIndices):
        a[ids(1, 1)] = a
    with pytest.raises(xp.DuplicateIndices):
        a[ids(1, -1)] += a
    with pytest.raises(xp.DuplicateIndices):
        a[ids(0, 0), ids(1, 1)] = xp.ones(2)
    a[ids(0, 0)] = 5.0  # the same value, whichever comes last
    a[ids(1, 1), ids(0, 1)] = xp.ones(2)
    assert a.get().tolist() == [[5, 5, 5], [1, 1, 5]]


def test_sums_come_in_an_order_of_chance(rng):
    rows, values = xp.asarray(np.zeros(4000, np.int64)), xp.asarray(rng.standard_normal((4000, 2)).astype("f4"))
    found = []
    for seed in (0, 1):
        xp.reorder(seed)
        target = xp.zeros((3, 2), "f4")
        xp.add.at(target, rows, values)
        found.append(target.get())
    assert not np.array_equal(*found)
    assert np.allclose(found[0][0], values.get().astype(float).sum(axis=0), atol=1e-3)


def test_what_waits_for_the_device_is_counted(a):
    for call, syncs in (
        (lambda: a.get(), 1),
        (lambda: xp.bincount(ids(0, 1, 1)), 2),
        (lambda: xp.unique(ids(0, 1, 1)), 1),
        (lambda: xp.nonzero(a), 1),
        (lambda: xp.where(a > 0), 1),
        (lambda: xp.where(a > 0, a, 0.0) @ a.T + a.sum(), 0),
    ):
        xp.reset()
        call()
        assert xp.moves["syncs"] == syncs
    for call in (lambda: a[a > 0], lambda: xp.repeat(a, ids(1, 2), axis=0), lambda: float(a[0, 0])):
        with pytest.raises(xp.HiddenCopyError):
            call()


def test_launches_uploads_and_allocations_are_counted(a):
    square, stack = xp.ones((3, 3)), xp.ones((4, 3, 3))
    for call, counts in (
        (lambda: xp.asarray(np.ones(2)), (1, 0, 1)),
        (lambda: xp.asarray(a), (0, 0, 0)),
        (lambda: a.T.reshape(6)[1:], (0, 1, 1)),  # the reshape of a transposed array copies it
        (lambda: a.reshape(3, 2)[1:].swapaxes(0, 1), (0, 0, 0)),
        (lambda: xp.add(a, 1.0, out=a), (0, 1, 0)),
        (lambda: a.__imul__(0.5), (0, 1, 0)),
        (lambda: a.__setitem__(0, 1.0), (0, 1, 0)),
        (lambda: xp.exp(a), (0, 1, 1)),
        (lambda: a[ids(0)], (1, 1, 2)),
        (lambda: a @ square, (0, 1, 1)),
        (lambda: a @ square.T, (0, 1, 1)),
        (lambda: a[:, :2] @ square[:2], (0, 2, 1)),  # an operand that is no whole matrix is copied
        (lambda: xp.matmul(a, stack[:1], out=xp.empty((1, 2, 3))), (0, 1, 1)),
        (lambda: xp.matmul(stack, stack, out=xp.empty((4, 3, 3))), (0, 1, 1)),
        # one matrix with several: three tables of pointers besides
        (lambda: xp.matmul(a, stack, out=xp.empty((4, 2, 3))), (0, 4, 4)),
    ):
        xp.reset()
        call()
        assert tuple(xp.moves[name] for name in ("to_device", "launches", "allocations")) == counts


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.exp(a),
        lambda a: np.float64(2) * a,
        lambda a: np.ones(3) + a,
        lambda a: a + np.ones(3),
        lambda a: a + np.array(2.0),
        lambda a: a[np.array([0, 1])],
        lambda a: a[[0, 1]],
        lambda a: np.asarray(a),
        lambda a: np.max(a),
        lambda a: max(a[0, 0], a[0, 1]),
        lambda a: f"{a[0, 0]:.2f}",
        lambda a: a.tolist(),
        lambda a: a.__setitem__(0, np.ones(3)),
    ],
)
def test_host_and_device_never_meet_unseen(call, a):
    with pytest.raises(TypeError):
        call(a)
