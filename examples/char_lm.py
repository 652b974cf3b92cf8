"""A language model of a text of your own, or of IMDB reviews: it learns to write like it, character by character.

python examples/char_lm.py --text book.txt               # some minutes; samples after every epoch
python examples/char_lm.py --text book.txt --resume      # goes on where it was stopped
python examples/char_lm.py --generate "It was"           # writes on, with the model learnt last
python examples/char_lm.py --words                       # reviews, word by word
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import rnnscratch as rs
from rnnscratch import training
from rnnscratch.files import owned
from rnnscratch.models import load_model, save_model
from rnnscratch.progress import say
from rnnscratch.text import Vocabulary, load_imdb

WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]|\n")  # words, marks, and the ends of lines


def tokens(text: str, words: bool) -> list[str]:
    """The text as characters, or as words and marks."""
    return WORD.findall(text) if words else list(text)


def written(found: Sequence[str], words: bool) -> str:
    """The reverse of `tokens`, as well as may be."""
    return re.sub(r" ([.,;:!?)\n])", r"\1", " ".join(found)) if words else "".join(found)


def read(path: Path | None, limit: int) -> str:
    """The text to learn: the file's, or some training reviews, a line each."""
    if path is not None:
        return path.read_text(encoding="utf-8", errors="replace")[:limit]
    reviews = load_imdb().train.texts
    order = np.random.default_rng(0).permutation(len(reviews))
    return "\n".join(reviews[k].replace("<br />", " ") for k in order)[:limit]


def split(ids: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All but the last twentieth, to learn, and that, to judge by. Raises ValueError for a text that is too short."""
    held_out = max(2, len(ids) // 20)
    if len(ids) < 2 + held_out:
        raise ValueError(f"the text has {len(ids)} {name}, expected at least 4: two to learn from and two to judge by")
    return ids[:-held_out], ids[-held_out:]


def learn(options: argparse.Namespace, folder: Path) -> rs.LanguageModel:
    """Train, show samples on the way, and save the model."""
    name = "words" if options.words else "characters"
    found = tokens(read(options.text, options.limit), options.words)
    vocabulary = Vocabulary.build([found], max_size=options.vocabulary)
    train, held_out = split(vocabulary.encode(found), name)
    model = rs.LanguageModel(
        len(vocabulary),
        embedding_dim=options.hidden,
        hidden_size=options.hidden,
        num_layers=options.layers,
        tied=True,
        dropout=options.dropout,
        sampled=1024 if len(vocabulary) > 5000 else None,
        seed=options.seed,
    )
    say(f"{len(found):,} {name}, {len(vocabulary) - 1:,} different ones; {model.num_params:,} parameters")

    def show(model: rs.LanguageModel, row: dict[str, float]) -> None:
        prompt = held_out[:20]
        sample = model.generate(prompt, options.length, options.temperature, top_p=options.top_p, seed=options.seed)
        say(f"--- epoch {row['epoch']}, perplexity {row['validation_perplexity']:.2f}")
        say(written(vocabulary.decode([*prompt, *sample]), options.words))

    windows = max(1, len(train) // (options.batch_size * options.window))
    training.fit(
        model,
        train,
        held_out,
        optimizer=rs.Adam(),
        schedule=rs.optimizers.cosine_schedule(options.learning_rate, options.epochs * windows),
        epochs=options.epochs,
        batch_size=options.batch_size,
        max_length=options.window,
        clip_norm=1.0,
        callbacks=[show],
        seed=options.seed,
        checkpoint=folder / "checkpoint.npz",
        resume=options.resume,
        progress=not options.quiet,
    )
    save_model(folder / "model.npz", model, vocabulary, {"words": options.words})
    say(f"perplexity {model.perplexity(held_out):.2f} of the last {len(held_out):,} {name}; saved in {folder}")
    return model


def go_on(options: argparse.Namespace, folder: Path) -> str:
    """What the saved model writes after the prompt."""
    model, vocabulary, extra = load_model(folder / "model.npz")
    if not isinstance(model, rs.LanguageModel) or vocabulary is None or not isinstance(extra.get("words"), bool):
        raise ValueError(f"{folder / 'model.npz'} holds no model of this example")
    words = extra["words"]
    prompt = vocabulary.encode(tokens(options.generate, words))
    if not len(prompt):
        raise ValueError("--generate is empty, expected the beginning of a text")
    new = model.generate(prompt, options.length, options.temperature, top_p=options.top_p, seed=options.seed)
    return written([*tokens(options.generate, words), *vocabulary.decode(new)], words)


def main(arguments: Sequence[str] | None = None) -> rs.LanguageModel | None:
    """Learn or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--text", type=Path, help="a text file; else IMDB reviews")
    add("--words", action="store_true", help="words in the place of characters")
    add("--limit", type=int, default=1_000_000, help="characters of the text that are read, at most")
    add("--vocabulary", type=int, default=20_000, help="different characters or words at most; others are unknown")
    add("--hidden", type=int, default=192, help="units of a layer, and numbers of an embedding")
    add("--layers", type=int, default=1)
    add("--dropout", type=float, default=0.1)
    add("--epochs", type=int, default=5)
    add("--batch-size", type=int, default=16, help="streams of the text that are read side by side")
    add("--window", type=int, default=64, help="steps that gradients go back")
    add("--learning-rate", type=float, default=0.005)
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("runs/char_lm"), help="folder for the checkpoint and the model")
    add("--resume", action="store_true", help="go on from the checkpoint in the folder")
    add("--generate", metavar="PROMPT", help="write on from here with the saved model, and learn nothing")
    add("--length", type=int, default=300, help="how much is written, in characters or words")
    add("--temperature", type=float, default=0.8)
    add("--top-p", type=float, help="write only what is among the most probable with this much together")
    add("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args(arguments)
    try:
        if options.generate is not None:
            print(go_on(options, options.out))
            return None
        options.out.mkdir(parents=True, exist_ok=True)
        with owned(options.out, "choose another folder with --out"):
            return learn(options, options.out)
    except (OSError, ValueError) as error:
        raise SystemExit(f"char_lm: {error}") from None
    except KeyboardInterrupt as error:
        raise SystemExit(f"char_lm: {str(error) or 'interrupted'}") from None


if __name__ == "__main__":
    main()
