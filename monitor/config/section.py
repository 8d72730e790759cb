"""What all sections of the file have in common."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

CONFLICTS = "conflicts"
"""The type of a pydantic error that stands for several: what `Section.conflicts` found."""


class Section(BaseModel):
    """A mapping of the file: frozen, and without keys that nobody knows.

    A section without a value (`rules:` and nothing more) is as if it were left out.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # Editors show titles: `Environment`, not `Environment[Rules, CampaignRules]`.
        model_title_generator=lambda model: model.__name__.partition("[")[0],
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong between keys that are right by themselves: key, message."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        found = tuple(self.conflicts())
        if found:
            raise PydanticCustomError(CONFLICTS, "keys contradict each other", {"found": found})
        return self
