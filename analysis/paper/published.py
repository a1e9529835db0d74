"""The paper's numbers, as data.

"What Is Missing: Interpretable Ratings for Large Language Model Outputs" (Stranges and Yang), tables 1 to 4
and what the text says of its figures.
"""

RANDOM, NUMERICAL, MOVING, FIXED = "random", "numerical", "wim-moving", "wim-fixed"
ARMS = {
    RANDOM: "Random",
    NUMERICAL: "Numerical",
    MOVING: "WIM with the changing judge",
    FIXED: "WIM with the fixed judge",
}
"""Our names of the paper's arms, in the order in which its win rates rise."""
ALIASES = {"wim": FIXED}
"""The demo's arm `wim` is judged by the base model."""

TIE_RATE = {"numerical": 0.4278, "wim": 0.0200}
AVERAGE_DELTA = {"numerical": 0.928, "wim": 1.396}
SCALE_WIDTH = {"numerical": 9.0, "wim": 10.0}
"""Numbers stand on 1 to 10, WIM ratings on 0 to 10: the deltas compare only after division by these."""
DELTA_GAIN_PRINTED = 0.4782
"""As the text prints it; 1.396 / 0.928 is 50.4% more."""

LOSS_DIFFERENCE = {RANDOM: -0.0011, NUMERICAL: -0.0020, MOVING: -0.0033, FIXED: -0.0059}
LOSS_RATIO = 2.95  # fixed judge to numerical
ENTROPY_DIFFERENCE = {RANDOM: -61.27, NUMERICAL: -45.3, MOVING: -53.08, FIXED: -106.94}
WIN_RATE = {RANDOM: 0.499, NUMERICAL: 0.501, MOVING: 0.513, FIXED: 0.520}
WIN_RATE_PROMPTS = 1_000
WIN_RATE_GAIN = 0.0379  # fixed judge to numerical, relative; the text calls the differences not significant

BASE = "base"
BENCHMARKS = {
    "BBH": {BASE: 67.84, RANDOM: 67.72, NUMERICAL: 67.98, MOVING: 68.01, FIXED: 68.15},
    "GPQA diamond": {BASE: 30.81, RANDOM: 27.78, NUMERICAL: 28.28, MOVING: 28.28, FIXED: 29.80},
    "IFEval": {BASE: 40.48, RANDOM: 39.74, NUMERICAL: 39.93, MOVING: 39.19, FIXED: 39.56},
    "MMLU": {BASE: 63.82, RANDOM: 63.89, NUMERICAL: 63.90, MOVING: 63.88, FIXED: 63.89},
}
"""In percent."""

ADVANTAGE_SHAPE = {NUMERICAL: "constant", MOVING: "logarithmic", FIXED: "quadratic"}
MODES = (7.0, 8.0)
"""The numbers on which the judge's ratings cluster (7 to 9 in section 3.2)."""

REMARKS = {
    "table 1": "The paper's text says 47.82% for the gain in average delta; its own 1.396 / 0.928 is 50.4%. The two "
    "deltas stand on different scales, 1 to 10 and 0 to 10: divided by their widths they differ by 35.4%.",
    "tables 2 and 3": "The paper defines neither the window of its differences nor the unit of its entropy, so signs "
    "and the order of the arms are compared, not sizes. Our entropy is in nats per token.",
    "win rates": "The paper's judge is gpt-4o-mini on 1,000 completions; it calls its own differences not significant.",
    "figures": "The paper does not say whether the reward of its figures is multiplied by beta; ours is.",
}
"""What a reader of the comparison should know of the paper's own numbers."""
