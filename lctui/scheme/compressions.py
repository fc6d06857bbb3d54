"""The compressions a task can ask for: one frozen pydantic model a kind.

Owns the `how` block of a scheme: fields, defaults, rules and the words that the form and the help show for them
(attribute docstrings become the JSON Schema's descriptions).  Computes nothing: `lctui.compression` solves the
C steps, `lctui.scheme.storage` counts the bits.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    model_validator,
)
from pydantic.config import JsonDict

Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
PositiveFloat = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Kappa = Annotated[
    NonNegativeFloat,
    # A count reads and is written as a count: 104, not 104.0.  Beyond 2⁵³ floats no longer count.
    AfterValidator(lambda kappa: int(kappa) if kappa == int(kappa) and kappa < 2**53 else kappa),
    PlainSerializer(lambda kappa: kappa, return_type=int | float),
]


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} must be a number")
    return value


NumberChoice = BeforeValidator(_not_bool)
"""For a choice among numbers: Python's True equals 1, a file's true does not."""


class _Later:
    """Marks a field that came after the first runs: at its default it means what schemes without it mean."""


LATER = _Later()


class _Aside:
    """Marks a field that says how something is done and changes no number: nothing is known by it."""


ASIDE = _Aside()

Code = Annotated[Literal["plain", "arithmetic"], LATER]
"""How positions and indices are written: with equal bits each, or as many as they are unlikely."""


Measure = Literal["weights", "groups", "rank"]
"""What a suggested number is a share of: the task's weights, its filters and neurons, or its smallest full rank."""


class Block(BaseModel):
    """A frozen piece of a scheme; unknown fields are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )


def without_later(value: Any, dumped: Any) -> Any:
    """What was dumped of a value, without its later fields at their defaults, and without those that change nothing."""
    if isinstance(value, Block):
        fields = type(value).model_fields
        later = {name for name, field in fields.items() if LATER in field.metadata}
        dropped = {name for name in later if getattr(value, name) == fields[name].default}
        dropped |= {name for name, field in fields.items() if ASIDE in field.metadata}
        return {name: without_later(getattr(value, name), dumped[name]) for name in dumped if name not in dropped}
    if isinstance(value, tuple):
        return [without_later(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped


def _share(share: float, of: Measure) -> JsonDict:
    """Where a form starts: `lctui.scheme.suggest` makes a number of it once the layers are known."""
    return {"suggested": {"share": share, "of": of}}


def _one_of(block: BaseModel, *names: str) -> None:
    given = [name for name in names if getattr(block, name) is not None]
    if len(given) != 1:
        listed = ", ".join(f"'{name}'" for name in names)
        got = " and ".join(f"'{name}'" for name in given) or "none"
        raise ValueError(f"exactly one of {listed} is needed, got {got}")


class Prune(Block):
    """Pruning: most weights become exactly zero; the others stay as they are, or share a codebook."""

    type: Literal["prune"] = "prune"
    kappa: Kappa | None = Field(default=None, json_schema_extra=_share(0.1, "weights"))
    """κ: how many weights stay non-zero (norm l0, a whole number), or the radius of the ℓ1 ball (norm l1)."""
    fraction: Fraction | None = None
    """The share of the task's weights that stays non-zero, 0 to 1 (norm l0)."""
    alpha: NonNegativeFloat | None = None
    """α: the price of a weight in the penalty α·‖θ‖ (in place of a fixed count); larger prunes more."""
    norm: Literal["l0", "l1"] = "l0"
    """l0 counts the non-zero weights; l1 sums their magnitudes and shrinks what it keeps."""
    k: Positive | None = Field(default=None, le=65536)
    """Codebook size for the survivors: each kept weight becomes one of k shared values."""
    code: Code = "plain"
    """How positions (and indices) are stored: plain by gaps, arithmetic in the fewest bits, by where survivors are."""

    @model_validator(mode="after")
    def _consistent(self) -> Prune:
        _one_of(self, "kappa", "fraction", "alpha")
        if self.norm == "l0" and self.kappa is not None and self.kappa != int(self.kappa):
            raise ValueError(f"kappa {self.kappa} counts weights under norm 'l0': it must be a whole number")
        if self.norm == "l1" and self.fraction is not None:
            raise ValueError("fraction counts weights: it goes with norm 'l0'; give kappa (a radius) or alpha")
        if self.k is not None and (self.norm != "l0" or self.alpha is not None):
            raise ValueError("k (a codebook for the survivors) goes with norm 'l0' and 'kappa' or 'fraction'")
        return self


class PruneStructured(Block):
    """Structured pruning: whole filters (convolutions) or neurons (linear layers) become zero."""

    type: Literal["prune_structured"] = "prune_structured"
    kappa: Count | None = Field(default=None, json_schema_extra=_share(0.5, "groups"))
    """κ: how many filters or neurons stay."""
    fraction: Fraction | None = None
    """The share of filters or neurons that stays, 0 to 1."""

    @model_validator(mode="after")
    def _consistent(self) -> PruneStructured:
        _one_of(self, "kappa", "fraction")
        return self


class PruneNM(Block):
    """N:M pruning: at most n non-zero weights in every m consecutive inputs, as sparse hardware wants it."""

    type: Literal["prune_n_m"] = "prune_n_m"
    n: Count = 2
    """How many weights of each group stay."""
    m: Positive = Field(default=4, le=64)
    """The size of a group: so many consecutive inputs of one output."""

    @model_validator(mode="after")
    def _consistent(self) -> PruneNM:
        if self.n > self.m:
            raise ValueError(f"n {self.n} exceeds m {self.m}: at most m of m weights can stay")
        return self


class QuantizeAdaptive(Block):
    """Quantization with a learned codebook: every weight becomes one of k values, and the values are learned."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["adaptive"] = "adaptive"
    """The k values are chosen to fit the weights best."""
    k: Positive = Field(le=65536, examples=[4])
    """k: the codebook's size; a weight then takes ⌈log₂ k⌉ bits."""
    code: Code = "plain"
    """How indices are stored: plain with ⌈log₂ k⌉ bits each, arithmetic with fewer for common ones."""


class QuantizeFixed(Block):
    """Quantization to values that you list."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["fixed"] = "fixed"
    """The values are yours and stay as they are."""
    values: tuple[Annotated[float, Field(strict=True, allow_inf_nan=False)], ...] = Field(
        min_length=1, max_length=256, examples=[[-0.1, 0, 0.1]]
    )
    """The codebook: up to 256 different numbers."""
    code: Code = "plain"
    """How indices are stored: plain with equal bits each, arithmetic with fewer for common ones."""

    @model_validator(mode="after")
    def _consistent(self) -> QuantizeFixed:
        if len(set(self.values)) != len(self.values):
            twice = next(value for value in self.values if self.values.count(value) > 1)
            raise ValueError(f"values must differ, {twice:g} stands there more than once")
        return self


class QuantizePowersOfTwo(Block):
    """Quantization to 0, ±1, ±1/2, … ±2⁻ᶜ: multiplications become shifts."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["powers_of_two"] = "powers_of_two"
    """Zero and powers of two with either sign."""
    c: Count = Field(le=30, examples=[5])
    """C: the smallest magnitude is 2⁻ᶜ."""
    scaled: Flag = False
    """Multiply the codebook by one learned scale."""
    code: Code = "plain"
    """How indices are stored: plain with equal bits each, arithmetic with fewer for common ones."""


class QuantizeBinary(Block):
    """Binarization: every weight becomes −a or +a."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["binary"] = "binary"
    """Two values of opposite sign."""
    scaled: Flag = True
    """Learn the magnitude a; without it a = 1."""


class QuantizeTernary(Block):
    """Ternarization: every weight becomes −a, 0 or +a."""

    type: Literal["quantize"] = "quantize"
    codebook: Literal["ternary"] = "ternary"
    """Two values of opposite sign, and zero."""
    scaled: Flag = True
    """Learn the magnitude a; without it a = 1."""
    code: Code = "plain"
    """How indices are stored: plain with two bits each, arithmetic with fewer for common ones."""


class LowRank(Block):
    """Low rank: the layer's matrix becomes a product UZᵀ of two thin ones."""

    type: Literal["low_rank"] = "low_rank"
    rank: Count | Literal["auto"] = Field(json_schema_extra=_share(0.1, "rank"))
    """r: the product's inner size, or "auto" to learn it from alpha."""
    alpha: NonNegativeFloat | None = None
    """α (rank auto): the price of what a rank costs; larger gives smaller ranks."""
    criterion: Literal["storage", "flops"] = "storage"
    """What a rank costs (rank auto): numbers stored, or multiplications for one input."""
    normalize: Flag = True
    """Measure the error relative to the layer's squared norm (rank auto), so that one α suits every layer."""
    conv_scheme: Literal["scheme_1", "scheme_2"] = "scheme_2"
    """How filters [n, c, h, w] become a matrix: scheme_1 is n × c·h·w, scheme_2 is n·h × c·w."""
    bits: Annotated[Literal[32, 16], NumberChoice] = 32
    """Bits a factor's entry is stored in."""

    @model_validator(mode="after")
    def _consistent(self) -> LowRank:
        if self.rank == "auto" and self.alpha is None:
            raise ValueError("rank 'auto' needs 'alpha'")
        if self.rank != "auto" and self.alpha is not None:
            raise ValueError(f"alpha goes with rank 'auto'; here the rank is fixed to {self.rank}")
        return self


def _kind(value: Any) -> str | None:
    """The union's tag: the type, and for `quantize` which codebook (adaptive when none is named)."""
    if isinstance(value, BaseModel):
        value = {"type": getattr(value, "type", None), "codebook": getattr(value, "codebook", "adaptive")}
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind == "quantize":
        return f"quantize:{value.get('codebook', 'adaptive')}"
    return kind if isinstance(kind, str) else None


KINDS: dict[str, type[Block]] = {
    "prune": Prune,
    "prune_structured": PruneStructured,
    "prune_n_m": PruneNM,
    "quantize:adaptive": QuantizeAdaptive,
    "quantize:fixed": QuantizeFixed,
    "quantize:powers_of_two": QuantizePowersOfTwo,
    "quantize:binary": QuantizeBinary,
    "quantize:ternary": QuantizeTernary,
    "low_rank": LowRank,
}
"""Every kind of compression by the tag that tells it apart; the loader words its errors from these."""

Quantize: TypeAlias = QuantizeAdaptive | QuantizeFixed | QuantizePowersOfTwo | QuantizeBinary | QuantizeTernary

Compression = Annotated[
    Annotated[Prune, Tag("prune")]
    | Annotated[PruneStructured, Tag("prune_structured")]
    | Annotated[PruneNM, Tag("prune_n_m")]
    | Annotated[QuantizeAdaptive, Tag("quantize:adaptive")]
    | Annotated[QuantizeFixed, Tag("quantize:fixed")]
    | Annotated[QuantizePowersOfTwo, Tag("quantize:powers_of_two")]
    | Annotated[QuantizeBinary, Tag("quantize:binary")]
    | Annotated[QuantizeTernary, Tag("quantize:ternary")]
    | Annotated[LowRank, Tag("low_rank")],
    Discriminator(_kind),
]
"""One compression, told apart by `type` (and `codebook`)."""


def _one_or_sum(value: Any) -> str:
    return "sum" if isinstance(value, list | tuple) else "one"


How = Annotated[
    Annotated[Compression, Tag("one")]
    | Annotated[tuple[Compression, ...], Field(min_length=1, max_length=16), Tag("sum")],
    Discriminator(_one_or_sum),
]
"""What a task does: one compression, or the sum of several."""


def members(how: Block | list[Any] | tuple[Any, ...]) -> tuple[Any, ...]:
    """The compressions that `how` adds up: one, or several."""
    return tuple(how) if isinstance(how, list | tuple) else (how,)
