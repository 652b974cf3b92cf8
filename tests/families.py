"""A hidden Markov model of each family, with random parameters, and data from it."""

from __future__ import annotations

import numpy as np

from rnnscratch.hmm import GMMHMM, CategoricalHMM, GaussianHMM, PoissonHMM

TYPES = ("spherical", "diag", "full", "tied")
FAMILIES = ["categorical", "poisson", *(f"{kind} {t}" for kind in ("gaussian", "gmm") for t in TYPES)]


def chain(model, rng):
    N = model.n_components
    model.startprob_, model.transmat_ = rng.dirichlet(np.ones(N)), rng.dirichlet(np.ones(N), N)
    return model


def spd(rng, *shape):
    root = rng.standard_normal((*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(shape[-1])


def make(family, N, rng, **options):
    """A model with random parameters set by hand."""
    kind, _, t = family.partition(" ")
    D, K = 2, 3
    if kind == "categorical":
        model = chain(CategoricalHMM(N, **options), rng)
        model.emissionprob_ = rng.dirichlet(np.ones(4), N)
    elif kind == "poisson":
        model = chain(PoissonHMM(N, **options), rng)
        model.lambdas_ = rng.uniform(0.5, 9, (N, D))
    elif kind == "gaussian":
        model = chain(GaussianHMM(N, t, **options), rng)
        model.means_ = rng.normal(0, 2, (N, D))
        model.covars_ = {
            "spherical": rng.uniform(0.3, 2, N),
            "diag": rng.uniform(0.3, 2, (N, D)),
            "full": spd(rng, N, D),
            "tied": spd(rng, D),
        }[t]
    else:
        model = chain(GMMHMM(N, K, t, **options), rng)
        model.weights_, model.means_ = rng.dirichlet(np.ones(K), N), rng.normal(0, 3, (N, K, D))
        model.covars_ = {
            "spherical": rng.uniform(0.3, 2, (N, K)),
            "diag": rng.uniform(0.3, 2, (N, K, D)),
            "full": spd(rng, N, K, D),
            "tied": spd(rng, N, D),
        }[t]
    return model


def observations(model, M, rng, missing=True):
    X = model.sample(M, random_state=rng)[0]
    X = X[:, 0] if isinstance(model, CategoricalHMM) else X.astype(float)
    if missing:
        X[rng.random(M) < 0.25] = -1 if X.dtype.kind == "i" else np.nan
        if X.ndim == 2:
            X[rng.random(X.shape) < 0.2] = np.nan  # features alone, too
    return X


def assert_is_a_maximum(model, objective, slack, rng):
    """No small change of means or covariances makes the objective larger, but for the slack."""
    best = objective()
    for name in ("means_", "covars_"):
        values = getattr(model, name)
        for _ in range(10):
            noise = rng.standard_normal(values.shape)
            if name == "covars_" and model.covariance_type in ("full", "tied"):
                noise = noise + np.swapaxes(noise, -1, -2)
            for step in (1e-3, -1e-3):
                setattr(model, name, values + step * noise)
                assert objective() <= best + slack
        setattr(model, name, values)
