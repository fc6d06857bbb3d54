"""The study file, as frozen pydantic models: a base scheme, and a tree of parts that vary it.

Owns fields, defaults and the rules that one field alone can break.  What runs a file stands for is
`lctui.scheme.study`'s to say; the schemes themselves are checked once their fields are set.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from lctui.scheme.compressions import Block
from lctui.scheme.layout import Layout
from lctui.scheme.models import Name

Values = Annotated[list[Any], Field(min_length=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Variant(Block):
    """One row of a study that differs from its part in named fields."""

    name: Name
    """What the row is called."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths and the values they take."""
    tags: tuple[Name, ...] = ()
    """Words to find the runs by, besides the part's."""
    published: dict[str, Number] = Field(default_factory=dict)
    """What somebody else reported of this row, by a result's field: test_error_pct, compression_ratio and so on."""


class Part(Block):
    """Some rows that belong together: the product of a grid, variants, and parts of their own."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths and the values they take in every run of this part."""
    tags: tuple[Name, ...] = ()
    """Words to find this part's runs by."""
    seeds: list[Seed] | None = Field(default=None, min_length=1)
    """Every run is repeated with each of these seeds; left out: those of the part around this one, or the base's."""
    search: list[Annotated[dict[str, Values], Field(min_length=1)]] = Field(default_factory=list)
    """Stages of a search for the reference: grids over its fields.  Each stage's candidate of lowest validation error,
    the first of equals, gives the values that later stages and all runs of this part have."""
    grid: dict[str, Values] = Field(default_factory=dict)
    """Dotted paths and the values each takes; the rows are their product."""
    variants: list[Variant] = Field(default_factory=list)
    """Further rows, one by one."""
    parts: list[NamedPart] = Field(default_factory=list)
    """Parts within this one: they have what it sets, and its search's winner."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds is not None and len(set(seeds)) != len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise ValueError(f"seeds must differ, {twice} stands there more than once")
        return seeds

    @field_validator("search")
    @classmethod
    def _of_the_reference(cls, search: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for stage in search:
            for path in stage:
                if not path.startswith("reference.") or path.count(".") != 1:
                    raise ValueError(
                        f"{path!r} is no field of the reference: a search varies paths such as reference.lr"
                    )
        return search


class NamedPart(Part):
    """A part within another."""

    name: Name
    """What the part is called; its rows' names begin with it."""


class StudyFile(Part):
    """A study as the file has it."""

    version: Literal[1] = 1
    """Version of this file format."""
    study: Name
    """The study's name."""
    base: dict[str, Any]
    """The scheme that every run starts from."""
    report: Layout | None = None
    """The tables and figures of the study's report; without it, one of each with all rows."""


Part.model_rebuild()
