"""Augmentation against loops over single images and pixels, and as a part of training that resumes to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lctui.learning.augment import Augment, Augmenting
from lctui.learning.descent import SgdSettings
from lctui.learning.ensemble import Ensemble
from lctui.learning.net import FlatNet
from lctui.learning.resident import Resident
from lctui.learning.train import Position, Trainer, Turn
from lctui.scheme.augmentations import Augmentation, parse
from tests.learning.test_ensemble import assert_alike

CPU = torch.device("cpu")
SIDE, WIDE, COUNT = 7, 9, 40
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def images(count: int = COUNT) -> Tensor:
    return torch.rand(count, 3, SIDE, WIDE, generator=torch.Generator().manual_seed(1)) + 0.5


def pixel(image: Tensor, row: int, column: int, beyond: float | None) -> list[float]:
    """A pixel; outside the image `beyond`, or with None that of the nearest edge."""
    inside = 0 <= row < SIDE and 0 <= column < WIDE
    if not inside and beyond is not None:
        return [beyond] * 3
    return image[:, min(max(row, 0), SIDE - 1), min(max(column, 0), WIDE - 1)].tolist()


def by_hand(step: Augmentation, image: Tensor, drawn: list[float]) -> Tensor:
    """One image, pixel after pixel."""
    found, size = torch.empty_like(image), step.pixels or 0
    down, along = (int(torch.tensor(u) * (2 * size + 1)) - size for u in drawn)
    top, left = int(torch.tensor(drawn[0]) * (SIDE - size + 1)), int(torch.tensor(drawn[1]) * (WIDE - size + 1))
    for row in range(SIDE):
        for column in range(WIDE):
            if step.name == "flip":
                value = pixel(image, row, WIDE - 1 - column if drawn[0] < 0.5 else column, 0.0)
            elif step.name == "erase":
                hidden = top <= row < top + size and left <= column < left + size
                value = [0.0] * 3 if hidden else pixel(image, row, column, 0.0)
            else:
                value = pixel(image, row + down, column + along, 0.0 if step.name == "crop" else None)
            found[:, row, column] = torch.tensor(value)
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("text", ["flip", "crop", "crop=1", "crop=6", "shift", "shift=6", "erase=2", "erase=6"])
def test_each_is_what_it_is_pixel_by_pixel(text: str, device: str) -> None:
    step, given = parse(text), images()
    augmenting = Augmenting(Augment((step,)), COUNT, torch.device(device))
    augmenting.begin(5)
    index = torch.randperm(COUNT, generator=torch.Generator().manual_seed(2))[:25]
    for layout in (torch.contiguous_format, torch.channels_last):
        batch = given[index].contiguous(memory_format=layout).to(device)
        found = augmenting.batch(batch, index.to(device)).cpu()
        wanted = [by_hand(step, given[i], augmenting.draws[i].tolist()) for i in index]
        assert torch.equal(found, torch.stack(wanted))
        assert torch.equal(batch.cpu(), given[index])  # what lies on the device stays as it is


def test_chances_are_what_they_should_be() -> None:
    many = 20_000
    augmenting = Augmenting(Augment((parse("flip"), parse("crop=1"))), many, CPU)
    augmenting.begin(3)
    marked = torch.zeros(many, 1, 3, 3)
    marked[:, 0, 1, 0] = 1  # left of the middle
    found = augmenting.batch(marked, torch.arange(many)).flatten(1)
    # From the left or, flipped, from the right column it moves by −1, 0 or 1; each way out of view in a third of cases.
    wanted = torch.tensor([1 / 6, 1 / 3, 1 / 6]) / 3
    torch.testing.assert_close(found.mean(0).view(3, 3), wanted.expand(3, 3), rtol=0, atol=0.01)


def test_what_happens_to_an_input_does_not_depend_on_its_batch() -> None:
    how, given = Augment((parse("crop"), parse("flip"), parse("erase=2"))), images()
    augmenting = Augmenting(how, COUNT, CPU)
    augmenting.begin(7)
    whole = augmenting.batch(given, torch.arange(COUNT))
    for i in (0, 11, 39):
        assert torch.equal(augmenting.batch(given[i : i + 1], torch.tensor([i]))[0], whole[i])
    augmenting.begin(8)
    assert not torch.equal(augmenting.batch(given, torch.arange(COUNT)), whole)


def noise(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return inputs + 0.1 * torch.randn(inputs.shape, generator=generator)


def make_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 7, 3))


def trainer(augment: Augment, seed: int = 0, **options: Any) -> Trainer:
    labels = torch.arange(COUNT) % 3
    settings = SgdSettings(batch_size=8, momentum=0.9, nesterov=True)
    net = FlatNet(make_net(seed), CPU)
    made = Trainer(
        net, options.pop("data", None) or Resident(images(), labels, CPU), settings, 5, augment=augment, **options
    )
    made.begin(("l_step", 0), Position())
    return made


@pytest.mark.parametrize(
    "how", [Augment((parse("crop"), parse("flip"))), Augment((parse("m:f"), parse("shift")), (noise,))]
)
def test_training_that_stops_anywhere_goes_on_to_the_same_bits(how: Augment) -> None:
    from lctui.errors import Interrupted

    whole = trainer(how)
    for _ in range(2):
        whole.epoch(0.05)
    for stop_at in (1, 3, 7):
        asked = iter([False] * stop_at + [True])
        cut = trainer(how, stop=lambda asked=asked: next(asked, False))
        while cut.position.epoch < 2:
            try:
                cut.epoch(0.05)
            except Interrupted:
                # Another process goes on: nothing but the position, the weights and the momentum is left.
                later = trainer(how)
                later.net.w.copy_(cut.net.w)
                later.begin(cut.stream, cut.position, cut.momentum.clone())
                cut = later
        assert torch.equal(cut.net.w, whole.net.w) and torch.equal(cut.momentum, whole.momentum)
    plain = trainer(Augment())
    for _ in range(2):
        plain.epoch(0.05)
    assert not torch.equal(plain.net.w, whole.net.w)


def test_nets_train_together_on_the_same_augmented_images() -> None:
    how, data = Augment((parse("crop=2"), parse("flip"))), Resident(images(), torch.arange(COUNT) % 3, CPU)
    alone, together = ([trainer(how, seed, data=data) for seed in range(3)] for _ in range(2))
    for each in alone:
        each.epoch(0.05)
    turns = [Turn(each, 0.05) for each in together]
    Ensemble(3).train(turns)
    assert [turn.together for turn in turns] == [3, 3, 3]
    assert_alike(together, alone)
