"""From raw reviews to batches of token ids: cleaning, vocabulary, batches, and the IMDB data."""

from .batches import Batch, Batches, keep_last, pad
from .clean import clean, clean_texts
from .imdb import ImdbData, Reviews, load_imdb, validation_split
from .vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Batches",
    "ImdbData",
    "Reviews",
    "Vocabulary",
    "clean",
    "clean_texts",
    "keep_last",
    "load_imdb",
    "pad",
    "validation_split",
]
