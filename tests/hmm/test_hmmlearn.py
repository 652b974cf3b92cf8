"""hmmlearn's own tests, from its installed package, with the classes here in the place of its own.

All but `test_criterion`, which takes minutes and would pass whatever came out.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("hmmlearn") is None:
    pytest.skip("hmmlearn comes with the bench extra", allow_module_level=True)

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
