"""The block ``publish`` of params.yaml: what a dataset or an adapter is called, and what its card says."""

import re
from dataclasses import dataclass

from builder.params.blocks import require


@dataclass(frozen=True)
class Publish:
    """``repo``: pushed to this dataset on the Hub, if set; ``{arm}`` in it stands for the arm's name.

    A repository that does not exist yet is private unless ``public``. ``test``: share of the prompts that are the
    split of that name (0: none). ``license`` and ``language`` are the card's; the Hub has lists of both.
    ``base_model``: the name on the Hub of a base model that lies in a folder here.
    """

    repo: str | None = None
    public: bool = False
    test: float = 0.05
    license: str = "unknown"
    language: tuple[str, ...] = ("en",)
    base_model: str | None = None

    def __post_init__(self) -> None:
        require(0 <= self.test <= 0.5, "publish.test", "between 0 and 0.5", self.test)
        licence = re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.license)
        require(bool(licence), "publish.license", "the Hub's name of a licence (apache-2.0, say)", self.license)
        for language in self.language:
            known = re.fullmatch(r"[a-z]{2,3}|code|multilingual", language)
            require(bool(known), "publish.language", "a list of ISO 639 codes (en, say)", language)
