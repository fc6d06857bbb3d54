"""What can be done to training images by chance: the names of augmentations, their sizes, and what they need.

Owns how a scheme writes one (`flip`, `crop=4`, `mine.py:noise`) and whether it fits the data's inputs.  Computes
nothing: `lctui.learning.augment` changes the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lctui.errors import Problem, not_one_of, shortened

SIZES: dict[str, int | None] = {"flip": None, "crop": 4, "shift": 2, "erase": 8}
"""The augmentations by name, and how many pixels each is about unless a scheme says so."""


@dataclass(frozen=True)
class Augmentation:
    """One augmentation: a name of `SIZES` and its pixels, or a `function` of the user's own."""

    name: str
    pixels: int | None = None
    function: str | None = None


def parse(text: str) -> Augmentation:
    """An augmentation as a scheme writes it.

    Raises:
        ValueError: it is none; says what could have been meant.
    """
    if ":" in text:
        return Augmentation(text, function=text)
    name, sized, number = text.partition("=")
    if name not in SIZES:
        raise ValueError(f"{not_one_of(name, SIZES)}, or module:function of your own")
    usual = SIZES[name]
    if not sized:
        return Augmentation(name, usual)
    if usual is None:
        raise ValueError(f"{name} takes no number, got {shortened(repr(text))}")
    if not (number.isascii() and number.isdigit() and 1 <= len(number) <= 6 and int(number) > 0):
        raise ValueError(f"{shortened(repr(text))} must have a whole number of pixels, such as {name}={usual}")
    return Augmentation(name, int(number))


def valid(text: str) -> str:
    """The text, if it is an augmentation; raises ValueError as `parse` does."""
    parse(text)
    return text


def misfits(augment: Sequence[Augmentation], shape: Sequence[int]) -> list[Problem]:
    """Those augmentations that inputs of this shape are not for: images are channels × height × width."""
    problems = []
    size = "×".join(map(str, shape))
    for number, how in enumerate(augment):
        where = f"data.augment.{number}"
        if how.function is not None:
            continue
        if len(shape) != 3:
            problems.append(Problem(where, f"{how.name} is for images, channels × height × width; inputs are {size}"))
        elif how.pixels is not None and how.pixels >= min(shape[1:]):
            height, width = shape[1:]
            message = f"{how.name} of {how.pixels} pixels must be smaller than the images, which are {height}×{width}"
            problems.append(Problem(where, message))
    return problems
