"""Judges beside wim: criteria, verdicts on two completions, wordings. What is asked, and how answers are read.

The demo model follows one template, that of wim: here answers are written by hand.
"""

import dataclasses
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder import params
from builder.errors import ParamsError
from builder.judges import Reading, aspects, likert, rubric, wim
from builder.judges import pairwise as pairs
from builder.judges._wordings import WORDINGS
from builder.judging import asking, pairwise
from builder.params import Aspects, Compare, Criterion
from builder.params import Judge as Settings
from builder.statuses import RatingStatus, Reason, WimStatus

PROMPT: Any = [{"role": "user", "content": "Describe the hare."}]
TEXT = "The answer leaves out the diet."
GOOD = f"helpfulness: [[4]]\nhonesty: [[5]]\ninstruction following: [[2]]\ntruthfulness: [[5]]\nWIM: [[[{TEXT}]]]"
RUBRIC = (
    Criterion("tone", "is it friendly?", 1.0, {1: "rude", 5: "warm"}),
    Criterion("facts", "are the facts right?", 3.0),
)


def of_aspects(**given: Any) -> aspects.Judge:
    missing = given.pop("missing", True)
    return aspects.Judge((1, 10), Settings("aspects", aspects=Aspects(**given), missing=missing))


def of_rubric(*criteria: Criterion) -> rubric.Judge:
    return rubric.Judge((1, 10), Settings("rubric", rubric=criteria or RUBRIC))


# Criteria -----------------------------------------------------------------------------------------------------------


def test_every_aspect_is_read_and_the_rating_is_their_mean_on_the_scale() -> None:
    numbers = {"helpfulness": 4.0, "honesty": 5.0, "instruction following": 2.0, "truthfulness": 5.0}
    mean = 1 + 9 * (4 + 5 + 2 + 5 - 4) / 16
    assert of_aspects().read(GOOD, "stop") == Reading(TEXT, WimStatus.MISSING, mean, RatingStatus.OK, None, numbers)


@pytest.mark.parametrize("label", ["Instruction Following", "instruction_following", "**Instruction-following**"])
def test_an_aspects_name_is_read_however_it_is_written(label: str) -> None:
    reading = of_aspects().read(GOOD.replace("instruction following", label), "stop")
    assert reading.aspects is not None
    assert reading.aspects["instruction following"] == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", Reason.NO_BRACKETS),
        ("honesty: [[6]]", Reason.OUT_OF_SCALE),
        ("honesty: [[number]]", Reason.PLACEHOLDER),
        ("honesty: [[high]]", Reason.NOT_A_NUMBER),
        ("honesty: [[5]]\nhonesty: [[1]]", Reason.SEVERAL),
    ],
)
def test_without_one_aspect_there_is_no_rating_and_the_others_are_kept(line: str, reason: Reason) -> None:
    reading = of_aspects().read(GOOD.replace("honesty: [[5]]", line), "stop")
    assert (reading.wim, reading.rating, reading.rating_status) == (TEXT, None, RatingStatus.UNREADABLE)
    assert reading.reason == reason
    assert reading.aspects == {"helpfulness": 4, "honesty": None, "instruction following": 2, "truthfulness": 5}


def test_an_aspect_without_weight_is_kept_and_does_not_count() -> None:
    raw = "helpfulness: [[4]]\ncorrectness: [[4]]\ncoherence: [[4]]\ncomplexity: [[0]]\nverbosity: [[9]]\nWIM: [[[]]]"
    reading = of_aspects(preset="helpsteer").read(raw, "stop")
    assert (reading.rating, reading.wim_status, reading.reason) == (10, WimStatus.NOTHING, None)
    assert reading.aspects is not None
    assert (reading.aspects["complexity"], reading.aspects["verbosity"]) == (0, None)
    brief = of_aspects(preset="helpsteer", weights={"verbosity": -3}).read(raw.replace("9", "4"), "stop")
    assert brief.rating == 5.5  # three good aspects, and as much against too many words


def test_without_the_text_only_the_numbers_are_asked_for() -> None:
    judge = of_aspects(missing=False)
    assert "WIM" not in judge.system
    reading = judge.read(GOOD, "stop")
    assert (reading.wim, reading.wim_status, reading.rating_status) == (None, WimStatus.ABSENT, RatingStatus.OK)


def test_a_rubric_is_asked_with_its_anchors_and_weighs_as_it_says() -> None:
    judge = of_rubric()
    assert "- tone: is it friendly?\n  1: rude\n  5: warm\n- facts: are the facts right?\n" in judge.system
    assert "Write only these 3 lines:\ntone: [[number]]\nfacts: [[number]]\nWIM:" in judge.system
    reading = judge.read("tone: [[1]]\nfacts: [[5]]\nWIM: [[[]]]", "stop")
    assert reading.rating == 1 + 9 * 0.75


def test_a_name_within_another_is_not_taken_for_it() -> None:
    judge = of_rubric(Criterion("tone"), Criterion("overall tone"))
    reading = judge.read("overall tone: [[5]]\ntone: [[2]]\nWIM: [[[]]]", "stop")
    assert reading.aspects == {"tone": 2, "overall tone": 5}


def test_an_unclosed_text_does_not_swallow_the_criteria_that_follow() -> None:
    reading = of_rubric().read(f"WIM: [[[{TEXT}\ntone: [[2]]\nfacts: [[4]]", "stop")
    assert (reading.wim, reading.aspects) == (TEXT, {"tone": 2, "facts": 4})


def test_the_template_itself_is_no_judgement() -> None:
    for judge in (of_aspects(), of_rubric()):
        reading = judge.read(judge.system, "stop")
        assert (reading.wim, reading.rating) == (None, None)


@pytest.mark.parametrize("missing", [True, False])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_matches_the_pattern_can_be_read_and_fits(data: st.DataObject, missing: bool) -> None:
    judge = of_aspects(missing=missing)
    raw = data.draw(st.from_regex(judge.pattern(320), fullmatch=True))
    reading = judge.read(raw, "stop")
    assert reading.reason is None
    assert reading.rating is not None
    assert len(raw.encode()) < 320


# Two completions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("Verdict: [[A]]", (1, None)),
        ("verdict: [[ b ]]", (-1, None)),
        ("Verdict: [[**Tie**]]", (0, None)),
        ("[[A]] and again [[A]]", (1, None)),
        ("[[A]] or [[B]]", (None, Reason.SEVERAL)),
        ("[[C]]", (None, Reason.NO_VERDICT)),
        ("A is better", (None, Reason.NO_BRACKETS)),
        ("I'm sorry, I cannot", (None, Reason.REFUSAL)),
        (" ", (None, Reason.EMPTY_OUTPUT)),
    ],
)
def test_a_verdict_is_read_or_the_reason_is_said(raw: str, found: tuple[int | None, Reason | None]) -> None:
    assert pairs.Judge((1, 10)).read(raw, "stop") == found


def test_a_verdict_that_was_cut_off_is_truncated() -> None:
    assert pairs.Judge((1, 10)).read("Verdict: [[A", "length") == (None, Reason.TRUNCATED)


@pytest.mark.parametrize("grades", [4, 5, 6, 7])
def test_every_graded_verdict_that_is_asked_for_is_read(grades: int) -> None:
    tie = grades % 2 == 1
    judge = likert.Judge((1, 10), Settings("likert", compare=Compare(tie=tie, grades=grades)))
    system = judge.messages(PROMPT, "x", "y")[0]["content"]
    marks = re.findall(r"Verdict: \[\[[^\]]+\]\]", system)
    found = [judge.read(mark, "stop")[0] for mark in marks]
    assert len(set(found)) == grades
    assert {grade for grade in found if grade} == {s * g for g in range(1, grades // 2 + 1) for s in (1, -1)}
    assert all(re.fullmatch(judge.pattern(64), mark) for mark in marks)
    with pytest.raises(ParamsError, match="at least"):
        judge.pattern(20)


def test_without_a_tie_a_tie_is_no_verdict() -> None:
    judge = pairs.Judge((1, 10), Settings("pairwise", compare=Compare(tie=False)))
    assert "tie" not in judge.messages(PROMPT, "x", "y")[0]["content"]
    assert judge.read("[[tie]]", "stop") == (None, Reason.NO_VERDICT)


def test_win_rates_ask_what_the_pairwise_judge_asks() -> None:
    assert pairwise.messages(PROMPT, "x", "y") == pairs.Judge((1, 10)).messages(PROMPT, "x", "y")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(["[[", "[[A", "A]]", "[[A]][[tie]]", "[[\ud800]]"]))
def test_reading_a_verdict_never_raises(raw: str) -> None:
    grade, reason = likert.Judge((1, 10)).read(raw, random.choice(["stop", "length", None]))
    assert (grade is None) == (reason is not None)


# Wordings -----------------------------------------------------------------------------------------------------------


def test_each_wording_is_another_question_in_the_same_format() -> None:
    systems = {name: wim.Judge((1, 10), Settings(wording=name)).system for name in WORDINGS}
    assert len(set(systems.values())) == len(WORDINGS)
    assert all("Rating: [[number]]\nWIM: [[[what is missing]]]" in system for system in systems.values())
    assert "is correct" in systems["assume_correct"]
    assert systems["default"] == wim.Judge((1, 10)).system


def test_an_unknown_wording_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match=r"judge\.wording: quote is unknown; the nearest known one is quotes"):
        wim.Judge((1, 10), Settings(wording="quote"))


# Parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("{name: pairwise, wording: quotes}", "judge.wording is a parameter of the judge wim, not of pairwise"),
        ("{name: wim, aspects: {}}", "judge.aspects is a parameter of the judge aspects, not of wim"),
        ("{name: aspects, compare: {}}", "judge.compare is a parameter of the judge pairwise or likert"),
        ("{missing: false}", "judge.missing is a parameter of the judge aspects or rubric"),
        ("{name: pairwise, compare: {grades: 5}}", "judge.compare.grades is a parameter of the judge likert"),
        ("{name: likert, compare: {grades: 4}}", "judge.compare.grades must be 5 or 7 with a tie, not 4"),
        ("{name: rubric, rubric: [{name: wim}]}", "judge.rubric: name must be another word than the format's"),
        ("{name: rubric, rubric: [{name: a}, {name: A}]}", "judge.rubric must be criteria of different names"),
        ("{name: rubric, rubric: [{name: a, anchors: {6: x}}]}", "known by whole numbers from 1 to 5, not 6"),
        ("{name: rubric, rubric: [{name: a, weigth: 2}]}", "judge.rubric[0].weigth is unknown; the nearest known"),
        ("{name: rubric, rubric: nowhere.yaml}", "judge.rubric: nowhere.yaml: No such file"),
        ("{jury: [{name: wim}, {name: wim}]}", "judge.jury must be judges that differ in name or model"),
        ("{jury: [{name: wim, rubric: [{name: a}]}]}", "judge.jury[0]: judge.rubric is a parameter of the judge"),
        ("{jury: [{name: wim, temprature: 1}]}", "judge.jury[0]: temprature is unknown; the nearest known one is"),
        ("{jury: [{jury: []}]}", "judge.jury[0] must be a judge, without a jury of its own"),
    ],
)
def test_a_parameter_that_no_judge_reads_is_an_error_in_words(block: str, told: str) -> None:
    with pytest.raises(ParamsError, match=re.escape(told)):
        params.load(None, [f"judge={block}"])


def test_a_rubric_may_be_a_file(tmp_path: Any) -> None:
    file = tmp_path / "rubric.yaml"
    file.write_text("- {name: tone, question: is it warm, weight: 2, anchors: {1: rude}}\n")
    given = params.load(None, [f"judge={{name: rubric, rubric: {file}}}"])
    assert given.judge.criteria == (Criterion("tone", "is it warm", 2.0, {1: "rude"}),)
    assert str(file) not in str(dataclasses.asdict(given.judge))  # no paths in tables
    file.write_text("tone: 1")
    with pytest.raises(ParamsError, match="must be a list of criteria"):
        params.load(None, [f"judge={{name: rubric, rubric: {file}}}"])


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (lambda: of_aspects(weights={"honsty": 1}), "judge.aspects.weights.honsty is unknown; the nearest .* honesty"),
        (lambda: rubric.Judge((1, 10)), "the judge rubric needs criteria"),
        (lambda: of_rubric(Criterion("a", weight=0.0)), "no criterion has a weight"),
    ],
)
def test_a_judge_that_cannot_follow_its_settings_says_so(judge: Any, told: str) -> None:
    with pytest.raises(ParamsError, match=told):
        judge()


def test_jurors_take_what_the_block_says_and_are_called_by_name_label_or_model() -> None:
    block = (
        "{max_tokens: 99, wording: quotes, jury: [{name: wim}, {model: x}, {label: b, wording: brief}, {name: likert}]}"
    )
    jury = params.load(None, [f"judge={block}"]).judge.jurors()
    assert [(j.label, j.wording, j.max_tokens) for j in jury] == [
        ("wim", "quotes", 99),
        ("wim@x", "quotes", 99),
        ("b", "brief", 99),
        ("likert", "default", 99),
    ]


class Plain:
    """What docs/judges.md shows as a judge of one's own has: no pattern."""

    def __init__(self, scale: Any, settings: Any) -> None: ...

    def messages(self, prompt: Any, completion: str) -> Any: ...

    def read(self, raw: str, finish_reason: str | None = None) -> Any: ...


def test_a_judge_without_a_pattern_is_asked_in_free_text_only() -> None:
    judge: Any = Plain(None, None)
    assert asking.sampling(judge, params.load(None), 0).pattern is None
    with pytest.raises(ParamsError, match=r"judge\.structured: the judge wim has no pattern"):
        asking.sampling(judge, params.load(None, ["judge.structured=true"]), 0)
