"""Texts in, labels out, in three lines: cleaning, vocabulary, model and training behind scikit-learn's estimator methods."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
