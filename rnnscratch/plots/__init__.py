"""Pictures of what the library computes: each function draws into `ax`, or a new figure's, and returns the Axes.

Numbers come as arrays or as what NumPy can turn into them, names and words as lists of strings; what does not fit is a
TypeError or ValueError that names the argument. Needs matplotlib (extra `plots`), imported where it is used. Colours
are Okabe and Ito's, told apart by colour-blind readers, and every line has a marker of its own, so that a print in grey
can be read too.

`curves` draws training and comparison, `gradients` how far they reach, `networks` a network unrolled with all its
numbers, `cells` the wiring of each cell, `dynamics` phase portraits and the loss cliff, `chains` and `markov` Markov
models, `settings` what a search found, `words` texts and word vectors. `animate_unrolled` and `sliders` return
`frames.Frames` and `coloured_text` and `connectivity` HTML, for a notebook; they work without a kernel and load
nothing.
"""

from .cells import cell
from .chains import em_gaps, em_objective, state_posteriors, state_runs, state_strips, transitions
from .curves import (
    accuracy_against_time,
    accuracy_by_group,
    calibration,
    confusion,
    learning_curves,
    share_by_length,
    training_curves,
    validation_curve,
)
from .dynamics import FixedPoint, descent, fixed_points, loss_and_slopes, loss_cliff, phase_portrait
from .frames import sliders
from .gradients import (
    activation,
    activation_values,
    contribution_norms,
    contributions,
    gradient_by_lag,
    jacobian_spectrum,
    spectrum_by_lag,
    step_sizes,
)
from .markov import transition_graph, trellis
from .networks import animate_unrolled, unrolled
from .settings import parallel_coordinates, score_map
from .style import COLOURS, HATCHES, MARKERS, to_png
from .words import attention, coloured_text, connectivity, gates_over_words, neighbours, word_effects

__all__ = [
    "COLOURS", "FixedPoint", "HATCHES", "MARKERS", "accuracy_against_time", "accuracy_by_group", "activation",
    "activation_values", "animate_unrolled", "attention", "calibration", "cell", "coloured_text", "confusion",
    "connectivity", "contribution_norms", "contributions", "descent", "em_gaps", "em_objective", "fixed_points",
    "gates_over_words", "gradient_by_lag", "jacobian_spectrum", "learning_curves", "loss_and_slopes", "loss_cliff",
    "neighbours", "parallel_coordinates", "phase_portrait", "score_map", "share_by_length", "sliders",
    "spectrum_by_lag", "state_posteriors", "state_runs", "state_strips", "step_sizes", "to_png", "training_curves",
    "transition_graph", "transitions", "trellis", "unrolled", "validation_curve", "word_effects",
]  # fmt: skip
