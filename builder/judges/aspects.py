"""The aspects of well-known preference data, in one answer. Names and scales are theirs, the words are ours."""

from dataclasses import dataclass, replace

from builder.judges import DEFAULT, Settings, _criteria
from builder.params import Aspects, Criterion
from builder.params.blocks import check_keys


@dataclass(frozen=True)
class Preset:
    """A set of aspects and their scale."""

    scale: tuple[int, int]
    criteria: tuple[Criterion, ...]


PRESETS = {
    # Cui et al., "UltraFeedback" (2023): four aspects from 1 to 5.
    "ultrafeedback": Preset(
        (1, 5),
        (
            Criterion("helpfulness", "does the answer give what the request is after, in substance?"),
            Criterion("honesty", "is the answer as sure as it can be, and does it say where it is not?"),
            Criterion("instruction following", "does the answer do what the request says, and keep to its limits?"),
            Criterion("truthfulness", "is what the answer states true, and nothing in it made up?"),
        ),
    ),
    # Wang et al., "HelpSteer" (2023): five attributes from 0 to 4. The last two describe an answer: more of them is
    # not better, so that they are kept and have no weight unless one is given.
    "helpsteer": Preset(
        (0, 4),
        (
            Criterion("helpfulness", "how helpful is the answer as a whole?"),
            Criterion("correctness", "are all wanted facts there, and none of them wrong?"),
            Criterion("coherence", "is the answer clear and consistent with itself?"),
            Criterion("complexity", "how much knowledge of the field does it take to write the answer?", 0.0),
            Criterion("verbosity", "how much detail does the answer have for what was asked?", 0.0),
        ),
    ),
}


class Judge(_criteria.Judge):
    """The preset of ``judge.aspects``, under its weights or others."""

    def __init__(self, scale: tuple[float, float], settings: Settings = DEFAULT) -> None:
        asked = settings.aspects or Aspects()
        preset = PRESETS[asked.preset]
        check_keys(asked.weights, [criterion.name for criterion in preset.criteria], "judge.aspects.weights.")
        criteria = [replace(c, weight=float(asked.weights.get(c.name, c.weight))) for c in preset.criteria]
        super().__init__(scale, criteria, preset.scale, settings.missing)
