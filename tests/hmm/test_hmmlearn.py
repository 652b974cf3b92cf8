"""hmmlearn's own tests, from its installed package, with the classes here in the place of its own; and EM beside its.

Of its tests all but `test_criterion`, which takes minutes and would pass whatever came out.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnscratch import hmm as ours

if importlib.util.find_spec("hmmlearn") is None:
    pytest.skip("hmmlearn comes with the test extra", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning:hmmlearn")  # with NumPy 2.5
PRIVATE = "tests names that are private there: "
EXPECTED = {
    "test_reset": PRIVATE + "ConvergenceMonitor._reset, and sets iter, which follows from history here",
    "test_report_first_iteration": PRIVATE + "ConvergenceMonitor._template",
    "test_n_features": "fit sets the option n_features there; here n_features_, since options are only read",
    "test__check_and_set_categorical_n_features": PRIVATE + "_check_and_set_n_features",
    "test_fit_too_little_data": PRIVATE + "_init, and the log of it; nothing is said of too little data here",
    "test_fit_with_priors": "wants one of the steps after the first to gain: learning begins where nothing is to gain",
    "test_issue_385": "sets spherical variances as (2, 1, 1, 1) for (2,)",
    "test_underflow_from_scaling": "sets spherical variances as (2, 1) for (2,)",
    "TestGMMHMMWithSphericalCovars::test_score_samples_and_decode": "one of the 1000 frames that this generator draws "
    "lies nearer to another state",
    "invariant_to_sequence_ordering[scaling-tied]": "another order of frames begins elsewhere, and ends 1 % apart",
    "invariant_to_sequence_ordering[log-tied]": "another order of frames begins elsewhere, and ends 1 % apart",
}
MODULES = "base categorical_hmm gaussian_hmm poisson_hmm gmm_hmm_new gmm_hmm_multisequence"

RUN = """
import pathlib, sys, types
import hmmlearn.base, numpy as np, pytest
from rnnscratch import hmm as ours

def check(model):
    model._parameters()

def begin(model, X, lengths=None):
    n_iter, model.n_iter = model.n_iter, 0
    try:
        model.fit(X)
    finally:
        model.n_iter = n_iter

def with_private_names(cls):
    names = {"_check": check, "_init": begin, "_covars_": property(lambda model: model.covars_)}
    return type(cls.__name__, (cls,), {**names, "__init__": cls.__init__})

class Given(ours.Emission):
    n_features_ = 1
    def log_density(self, X):
        return np.asarray(self.log_frameprob).T
    def check_data(self, X):
        pass
    def sample(self, states, rng):
        return states[:, None]

class Base(ours.BaseHMM):
    emission, _check = Given, check

module = types.ModuleType("hmmlearn.hmm")
for name in ("CategoricalHMM", "GaussianHMM", "GMMHMM", "PoissonHMM"):
    setattr(module, name, with_private_names(getattr(ours, name)))
hmmlearn.hmm = sys.modules["hmmlearn.hmm"] = module
hmmlearn.base.BaseHMM, hmmlearn.base.ConvergenceMonitor = Base, ours.ConvergenceMonitor
tests = pathlib.Path(hmmlearn.__file__).parent / "tests"
options = "-k not(criterion) -q -rf --tb=no -p no:cacheprovider -c /dev/null -W ignore --import-mode=importlib".split()
sys.exit(pytest.main([*options, "--rootdir", str(tests), *[str(tests / f"test_{each}.py") for each in sys.argv[1:]]]))
"""


def test_hmmlearns_tests_of_behaviour_pass():
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", RUN, *MODULES.split()],
        cwd=root,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root), "HMMLEARN_SEED": "0", "PATH": ""},
        check=False,
    )
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed and int(passed.group(1)) >= 165, found.stdout + found.stderr
    failed = re.findall(r"^FAILED \S*?::(\S+)", found.stdout, re.MULTILINE)
    unexpected = [name for name in failed if not any(each in name for each in EXPECTED)]
    assert not unexpected, found.stdout


@pytest.mark.parametrize("t", ["diag", "spherical", "full", "tied"])
@pytest.mark.parametrize("name", ["GaussianHMM", "GMMHMM"])
def test_one_step_of_em_with_priors_is_hmmlearns(name, t):
    """With the means of a mixture as they are, since there hmmlearn takes covariances about those before the step."""
    from hmmlearn import hmm as theirs

    rng = np.random.default_rng(0)
    N, K, D = 3, 2, 2
    X, lengths = rng.normal(size=(60, D)) * [1, 3] + 5, [20, 15, 25]
    mixture, variances = name == "GMMHMM", t in ("diag", "spherical")
    each = (N, K) if mixture else (N,)
    shared = each[:-1] if t == "tied" else each
    A = rng.normal(size=(*shared, D, D))
    covars = A @ np.swapaxes(A, -1, -2) + np.eye(D)
    covars = np.einsum("...dd->...d", covars) if t == "diag" else covars[..., 0, 0] if t == "spherical" else covars
    options = {"means_prior": rng.normal(size=(*each, D)), "means_weight": 1.7, "min_covar": 0}
    options |= {"startprob_prior": 2.0, "transmat_prior": rng.uniform(1, 3, (N, N)), "covars_weight": 6.0}
    options |= {"covars_prior": 0.8 if variances else np.array([[1.0, 0.2], [0.2, 2.0]])}
    if mixture:  # whose priors hmmlearn does not broadcast
        options["n_mix"] = K
        shape = covars.shape if variances else shared
        options |= {"weights_prior": rng.uniform(1, 3, (N, K)), "covars_weight": np.full(shape, 6.0)}
        options |= {"covars_prior": np.broadcast_to(options["covars_prior"], covars.shape).copy()}
    begun = {"startprob_": rng.dirichlet(np.ones(N)), "transmat_": rng.dirichlet(np.ones(N), N), "covars_": covars}
    begun |= {"means_": rng.normal(size=(*each, D)) + 5} | (
        {"weights_": rng.dirichlet(np.ones(K), N)} if mixture else {}
    )
    models = []
    for library in (ours, theirs):
        model = getattr(library, name)(N, covariance_type=t, n_iter=1, init_params="", **options)
        model.params = "stcw" if mixture else "stmc"
        for parameter, value in begun.items():
            setattr(model, parameter, value.copy())
        models.append(model.fit(X, lengths))
    found, expected = models
    for parameter in begun:
        value = getattr(expected, parameter)
        if parameter == "covars_" and not mixture:  # comes back as a matrix for each state
            pick = {"diag": np.diag, "spherical": np.max}.get(t, np.array)
            value = value[0] if t == "tied" else np.stack([pick(each) for each in value.reshape(N, -1, D)])
        np.testing.assert_allclose(getattr(found, parameter), value, rtol=1e-10)
