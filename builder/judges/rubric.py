"""Criteria of the user's own: ``judge.rubric``, a list in params.yaml or the name of a YAML file with one."""

from builder.errors import ParamsError
from builder.judges import DEFAULT, Settings, _criteria
from builder.params.judge import GRADES


class Judge(_criteria.Judge):
    """Each criterion from 1 to 5, anchored where the rubric says what a grade stands for."""

    def __init__(self, scale: tuple[float, float], settings: Settings = DEFAULT) -> None:
        if not settings.criteria:
            raise ParamsError(
                "judge.rubric: the judge rubric needs criteria, a list of {name, question, weight, anchors}"
            )
        super().__init__(scale, settings.criteria, GRADES, settings.missing)
