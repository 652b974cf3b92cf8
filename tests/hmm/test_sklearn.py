"""scikit-learn's own checks of estimators."""

import pytest
from rnnscratch.hmm import *
from sklearn.utils.estimator_checks import check_estimator
import warnings, collections
warnings.simplefilter("ignore")
