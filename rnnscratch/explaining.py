"""Which words of a text speak for a label: gradient times input, and occlusion as its check.

>>> import rnnscratch as rs
>>> texts, labels = ["good film", "bad film"] * 8, ["yes", "no"] * 8
>>> clf = rs.TextClassifier(cell="gru", epochs=20, learning_rate=0.05, validation_fraction=0.0, random_state=0)
>>> found = explain(clf.fit(texts, labels), "a good film")
>>> found.label, found.words
('yes', ['a', 'good', 'film'])
>>> int(found.occlusion.argmax())
1
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from . import plots
from .checks import as_strings
from .experiments.pages import html_table, machine, text_table, write_page
from .files import atomic_write, place_to_write
from .models.logits import probabilities
from .predicting import Labels
from .teach.words import occlusion, saliency, score
from .text.vocabulary import UNKNOWN
from .text_classifier import TextClassifier

ENDINGS = (".html", ".htm", ".png", ".svg")
PICTURED = 40  # words that a picture shows at most
METHODS = ("gradient x input", "occlusion")


@dataclass(frozen=True)
class Explanation:
    """What each of the T words that the classifier read does to the score of a label.

    The score is the label's logit less the mean of the other labels' logits; of two labels it is the log-odds. A layer
    that normalises its input does not see the size of the embeddings: there saliency is about 0, and occlusion counts.
    """

    text: str
    words: list[str]  # after cleaning; of an empty text the unknown word alone
    known: np.ndarray  # (T,) whether the word is in the vocabulary; the others are one word to the model
    left_out: int  # words before these, more than the classifier reads
    cell: str  # of the classifier
    label: str
    probabilities: dict[str, float]  # of all labels
    score: float
    saliency: np.ndarray  # (T,) gradient times input: the word's share of the score, to first order
    occlusion: np.ndarray  # (T,) how much the score falls when the unknown word stands in the word's place

    @property
    def predicted(self) -> str:
        """The most probable label."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def correlation(self) -> float | None:
        """Of saliency and occlusion over the known words (Pearson), since occlusion changes no other.

        None of two words, where it says nothing, and where either is the same for all of them.
        """
        one, other = self.saliency[self.known], self.occlusion[self.known]
        if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
            return None
        return float(np.corrcoef(one, other)[0, 1])

    def shown(self) -> list[str]:
        """The words, those in brackets that the model does not know."""
        return [word if known else f"[{word}]" for word, known in zip(self.words, self.known)]

    def __str__(self) -> str:
        rows = [
            [word, f"{one:+.4f}", f"{other:+.4f}"]
            for word, one, other in zip(self.shown(), self.saliency, self.occlusion)
        ]
        sums = ["(sum)", f"{self.saliency.sum():+.4f}", f"{self.occlusion.sum():+.4f}"]
        return "\n".join([*sentences(self), "", text_table([["word", *METHODS], *rows, sums], left=1)])


def explain(
    classifier: str | os.PathLike[str] | TextClassifier | Labels, text: str, label: Any = None, progress: bool = False
) -> Explanation:
    """What each word of a text does to the score of a label, by default of the most probable one.

    `classifier` is a fitted `TextClassifier`, or the path of its file or of one of a run of `rnnscratch imdb`. All is
    computed in float64; a text of T words costs one backward pass and T + 1 forward passes side by side, with a bar of
    `progress` where it is long. Raises TypeError or ValueError for another label or what is no text, and what reading
    the file raises.
    """
    labels = classifier if isinstance(classifier, Labels) else Labels(classifier)
    (text,) = as_strings("text", [text])
    words = labels.words([text])[0] or [UNKNOWN]
    p = probabilities(labels.logits([labels.vocabulary.encode(words)]))[0]
    chosen = int(p.argmax()) if label is None else place_of(label, labels)
    read = words if labels.max_length is None else words[-labels.max_length :]
    ids = labels.vocabulary.encode(read)
    return Explanation(
        text=text,
        words=read,
        known=np.array([word in labels.vocabulary for word in read]),
        left_out=len(words) - len(read),
        cell=labels.model.config()["cell"],
        label=labels.classes[chosen],
        probabilities=dict(zip(labels.classes, p.tolist())),
        score=score(labels.model, ids, chosen, contrast=True),
        saliency=saliency(labels.model, ids, chosen, contrast=True),
        occlusion=occlusion(labels.model, ids, chosen, contrast=True, by=0, progress=progress),
    )


def place_of(label: Any, labels: Labels) -> int:
    """Where a label stands among those of the classifier. Raises ValueError, naming these, if it does not."""
    if str(label) not in labels.classes:
        raise ValueError(f"label is {label!r:.60}, expected one of {', '.join(labels.classes):.300}")
    return labels.classes.index(str(label))


def sentences(found: Explanation) -> list[str]:
    """What was found, in words."""
    p, T = found.probabilities, len(found.words)
    said = [f"{found.predicted} ({p[found.predicted]:.2%}) is the most probable label."]
    if found.label != found.predicted:
        said.append(f"Explained is {found.label} ({p[found.label]:.2%}).")
    what = "log-odds" if len(p) == 2 else "logit, less the mean of the others',"
    said.append(f"Its {what} is {found.score:+.4f}; words above 0 speak for {found.label}, below 0 against it.")
    if found.left_out:
        said.append(f"The text has {found.left_out + T:,} words, of which the classifier reads the last {T:,}.")
    unknown = T - int(found.known.sum())
    if found.words == [UNKNOWN]:
        said.append("The text has no word, and is read as one unknown word.")
    elif unknown:
        said.append(f"In brackets: {unknown:,} of {T:,} words that the classifier does not know.")
    r = found.correlation
    told = "not defined" if r is None else f"{r:.3f}"
    said.append(f"The correlation of gradient x input and occlusion over the words it knows is {told}.")
    if found.cell == "layer_norm":
        said.append("The cell normalises the embeddings, so gradient x input is about 0: go by occlusion.")
    return said


def write_explanation(path: str | os.PathLike[str], found: Explanation) -> None:
    """Write it as a page (.html, .htm), which shows a word's value under the pointer, or a picture (.png, .svg).

    A picture shows the `PICTURED` words with the largest saliency or occlusion. Raises ValueError for another ending,
    ImportError for a picture where matplotlib is not installed, OSError where the file cannot be written.
    """
    check_place(path)
    ending = Path(path).suffix.lower()
    if ending in (".html", ".htm"):
        write_page(path, f"Words that speak for {found.label}", page(found))
        return
    ax = picture(found)
    content = BytesIO()
    ax.figure.savefig(content, format=ending[1:], dpi=130)
    with atomic_write(path, "wb") as file:
        file.write(content.getvalue())


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise what `write_explanation` will raise, before any work is done."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path} ends in {ending or 'nothing'!r}, expected one of {', '.join(ENDINGS)}")
    if ending in (".png", ".svg") and importlib.util.find_spec("matplotlib") is None:
        raise ImportError(f"{path}: pictures need matplotlib: pip install 'rnnscratch[plots]'")
    place_to_write(path)


def picture(found: Explanation, ax: Any = None) -> Any:
    """Saliency and occlusion of the `PICTURED` words with most of them, in their order, as bars; the Axes."""
    largest = np.maximum(np.abs(found.saliency), np.abs(found.occlusion))
    chosen = np.sort(np.argsort(-largest, kind="stable")[:PICTURED])
    words = found.shown()
    values = dict(zip(METHODS, (found.saliency[chosen], found.occlusion[chosen])))
    ax = plots.word_effects([words[k] for k in chosen], values, ax=ax)
    label = found.label.replace("$", r"\$")
    part = f", {PICTURED} of {len(words):,} words" if len(chosen) < len(words) else ""
    unit = "log-odds" if len(found.probabilities) == 2 else "logit"
    ax.set(title=f"for {label} (above 0) or against it{part}", ylabel=unit)
    return ax


def page(found: Explanation) -> list[str]:
    """The parts of the page."""
    rows = [[name, f"{p:.2%}"] for name, p in sorted(found.probabilities.items(), key=lambda each: -each[1])]
    parts = [
        f"<h1>Words that speak for {escape(found.label)}</h1>",
        *(f"<p>{escape(typeset(sentence))}</p>" for sentence in sentences(found)),
        html_table([["label", "probability"], *rows]),
    ]
    told = (
        "The gradient of the score with respect to a word's embedding, times the embedding, summed: the word's share "
        "of the score, to first order.",
        "How much the score falls when the unknown word stands in the word's place.",
    )
    both = found.saliency, found.occlusion
    limit = max(float(np.abs(values).max()) for values in both) or None
    parts.append(legend(limit, found.label))
    for title, values, note in zip(METHODS, both, told):
        parts.append(f"<h2>{typeset(title).capitalize()}</h2><p class=note>{note}</p>")
        parts.append(plots.coloured_text(found.shown(), values, limit))
    return [*parts, f"<p class=note>{escape(machine())}.</p>"]


def typeset(text: str) -> str:
    """With a sign for "times"."""
    return text.replace(METHODS[0], "gradient \u00d7 input")


def legend(limit: float | None, label: str) -> str:
    """What the colours of `plots.coloured_text` say, full at `limit`."""
    steps = np.linspace(-1, 1, 5) * (limit or 0.0)
    scale = plots.coloured_text([f"{step:+.3g}" for step in steps], steps)
    line = f"against {escape(label)} {scale} for {escape(label)}"
    look = "display:flex;flex-wrap:wrap;gap:0 .6rem;align-items:center"
    return f"<div class=note style='{look}'>{line}</div><p class=note>A word's value stands under the pointer.</p>"
