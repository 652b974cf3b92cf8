"""Recipes besides the usual one: a longer one and what it is made of, and the report's own protocol.

The longer one was chosen on a fifth of aclImdb's training reviews, of films of their own, by single runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

BEST: dict[str, Any] = {  # settings and options of the model that differ from the usual
    "models": ("bow", "nb", "gru"),
    "unlabelled": True,
    "vocabulary": 30000,
    "seeds": 3,
    "epochs": 3,
}
REPORT: dict[
    str, Any
] = {  # 4.2 to 4.4 of the report: its cleaning, one layer, one direction, the last state, labels alone
    "models": ("bow", "rnn", "lstm", "gru"),
    "recipe": "report",
    "pooling": "last",
    "bidirectional": False,
    "embedding_dropout": 0.0,
    "word_dropout": 0.0,
    "pretrain": "none",
    "distill": 0.0,
    "seeds": 3,
    "epochs": 5,
}
PROTOCOLS: dict[str, dict[str, Any]] = {"default": {}, "report": REPORT}
INGREDIENTS: dict[str, dict[str, Any]] = {  # what each is without
    "a teacher": {"distill": 0.0, "unlabelled": False, "rounds": 1},
    "reviews without a label": {"unlabelled": False, "rounds": 1},
    "further rounds": {"rounds": 1},
    "language models": {"pretrain": "words"},  # but with word vectors
    "any pre-training": {"pretrain": "none"},
    "adversarial noise": {"adversarial": 0.0, "virtual": 0.0},
    "averaged weights": {"average": 0.0},
    "the maximum over time": {"pooling": "mean"},
    "reading backwards": {"bidirectional": False},
    "words left out": {"word_dropout": 0.0},
    "dropout": {"dropout": 0.0, "embedding_dropout": 0.0},
}


ADDITIONS: dict[
    str, dict[str, Any]
] = {  # to the report's protocol: what the library's has, one at a time, and all of it
    "the mean and the maximum over time": {"pooling": "mean+max"},
    "both directions": {"bidirectional": True},
    "the library's cleaning": {"recipe": "default"},
    "word vectors, a teacher and noise": {
        "pretrain": "words",
        "distill": 0.7,
        "embedding_dropout": 0.3,
        "word_dropout": 0.3,
    },
}
EVERYTHING = "the library's protocol"
SHARES, RATES = (1 / 8, 1 / 4, 1 / 2), (1 / 4, 4.0)  # of the training reviews; of the learning rate


def variants(settings: Any) -> dict[str, Any]:
    """The settings to compare with, by name: without each ingredient that they have, or, for those of the report's
    protocol, with each that they lack, with all of them, with shares of the training reviews, and other learning rates.

    Networks that learn from fewer reviews make as many updates.
    """
    found, now = {}, {**settings.model_options(), **vars(settings)}
    plain = all(now[key] != value for changes in ADDITIONS.values() for key, value in changes.items())
    if plain:
        for name, changes in ADDITIONS.items():
            found[f"with {name}"] = changes
        found[f"with {EVERYTHING}"] = {k: v for changes in ADDITIONS.values() for k, v in changes.items()}
        for share in SHARES:
            changes = {"share": settings.share * share, "epochs": round(settings.epochs / share)}
            found[f"with 1 of {1 / share:.0f} training reviews"] = changes
        for factor in RATES:
            found[f"with {factor:g} times the learning rate"] = {"learning_rate": settings.learning_rate * factor}
    else:
        for name, changes in INGREDIENTS.items():
            if any(now[key] != value for key, value in changes.items()):
                found[f"without {name}"] = changes
        if settings.pretrain == "none":
            found.pop("without language models", None)
    return {name: _changed(settings, changes) for name, changes in found.items()}


def _changed(settings: Any, changes: dict[str, Any]) -> Any:
    own = {key: value for key, value in changes.items() if key in vars(settings)}
    further = {key: value for key, value in changes.items() if key not in own}
    return replace(settings, **own, model={**settings.model, **further}, ablation=False)
