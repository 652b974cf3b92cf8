"""Models: layers put together for a task, and files that hold them. `text_classifier` sits above `training`."""

from .classifier import SequenceClassifier
from .language_model import LanguageModel
from .saved import load_model, save_model
from .seq2seq import Seq2Seq

__all__ = ["LanguageModel", "Seq2Seq", "SequenceClassifier", "load_model", "save_model"]
