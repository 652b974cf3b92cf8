"""From raw reviews to batches of token ids: cleaning, vocabulary, batches, and the IMDB data."""

from .batches import Batch, Batches, keep_last, pad
from .clean import clean, clean_texts
from .groups import groups_by_length, groups_by_negation
from .imdb import ImdbData, Reviews, load_imdb, validation_split
from .pairs import PairBatch, PairBatches
from .vectors import nearest, principal_components
from .vocabulary import Vocabulary
from .windows import Window, Windows

__all__ = [
    "Batch",
    "Batches",
    "ImdbData",
    "PairBatch",
    "PairBatches",
    "Reviews",
    "Vocabulary",
    "Window",
    "Windows",
    "clean",
    "clean_texts",
    "groups_by_length",
    "groups_by_negation",
    "keep_last",
    "load_imdb",
    "nearest",
    "pad",
    "principal_components",
    "validation_split",
]
