"""What a surface is described by: the lines of its pipeline, as ``recsys.toml`` has them and a release keeps them."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator, model_validator

from recsys.sections import Section


class Line(Section):
    """One source, fusion, ranker or step of a surface: its name and its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    label: str = ""
    """What answers call a source, and how a fusion tells two of one name apart; its name if empty."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def called(self) -> str:
        """The label, or the name."""
        return self.label or self.name


class Surface(Section):
    """How one kind of request is answered."""

    sources: tuple[Line, ...]
    """Asked together; none where everybody gets the ladder."""
    filters: tuple[Line, ...] = ()
    """Steps applied in this order to what each source proposed, before anything is compared."""
    fusion: Line = Line(name="reciprocal-rank")
    """Makes one list of what is left."""
    ranker: Line | None = None
    """Puts that list into another order; none: it stays as the fusion left it."""
    steps: tuple[Line, ...] = ()
    """Applied in this order to that list."""
    ladder: tuple[Line, ...] = ()
    """Sources asked one after the other while slots are empty; each is a level."""
    budget_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What an answer may take; where that is short, steps that are optional and the ranker are left out and named."""

    @field_validator("ranker", mode="before")
    @classmethod
    def _without(cls, value: object) -> object:
        return None if value is False else value


def unseen(*sources: Line, fusion: Line | None = None) -> Surface:
    """The usual surface over these sources: nothing seen, and what is popular where they do not suffice."""
    return Surface(
        sources=sources,
        filters=(Line(name="seen"),),
        fusion=fusion or Line(name="reciprocal-rank"),
        ladder=(Line(name="popular"),),
    )
