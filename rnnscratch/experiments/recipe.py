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
    "a teacher": {"distill": 0.0, "unlabelled": False},
    "reviews without a label": {"unlabelled": False},
    "language models": {"pretrain": "words"},  # but with word vectors
    "any pre-training": {"pretrain": "none"},
    "adversarial noise": {"adversarial": 0.0, "virtual": 0.0},
    "averaged weights": {"average": 0.0},
    "the maximum over time": {"pooling": "mean"},
    "reading backwards": {"bidirectional": False},
    "words left out": {"word_dropout": 0.0},
    "dropout": {"dropout": 0.0, "embedding_dropout": 0.0},
}


def variants(settings: Any) -> dict[str, Any]:
    """By ingredient, the settings without it; those that the settings do not have are left out."""
    found, now = {}, {**settings.model_options(), **vars(settings)}
    for name, changes in INGREDIENTS.items():
        if all(now[key] == value for key, value in changes.items()):
            continue
        if name == "language models" and settings.pretrain == "none":
            continue
        own = {key: value for key, value in changes.items() if key in vars(settings)}
        further = {key: value for key, value in changes.items() if key not in own}
        found[name] = replace(settings, **own, model={**settings.model, **further}, ablation=False)
    return found
