"""One update of momentum SGD against torch's optimizer, for one net and for several at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lctui.learning.descent import Descent, Penalty, SgdSettings


class Quadratic:
    """The gradient of ½‖w − b‖², a batch's label being its number of inputs."""

    kind = "float32"

    def __init__(self, w: Tensor, grad: Tensor, b: Tensor) -> None:
        self.w, self.grad, self.b = w, grad, b

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        self.grad.copy_(self.w - self.b)
        return 0.5 * (self.w - self.b).square().sum(1)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_net_goes_the_way_that_torchs_optimizer_goes(
    fused: bool, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    start, b, target = torch.randn(3, 3, 6, generator=generator).unbind()
    rates, mus = [0.1, 0.03, 0.2], [0.0, 0.5, 2.0]
    penalties = [Penalty(torch.full((6,), mu), t) for mu, t in zip(mus, target, strict=True)]
    w, grad = start.clone(), torch.zeros_like(start)
    settings = SgdSettings(4, momentum, nesterov, weight_decay)
    descent = Descent(w, grad, Quadratic(w, grad, b), torch.ones(6), settings, fused=fused)
    descent.set_penalties(penalties)
    descent.set_rates(rates)
    nets = [row.clone().requires_grad_() for row in start]
    optimizers = [
        torch.optim.SGD([net], rate, momentum, weight_decay=weight_decay, nesterov=nesterov)
        for net, rate in zip(nets, rates, strict=True)
    ]
    sums = torch.zeros(3, dtype=torch.float64)
    for count in (4, 4, 2):
        descent.batch(torch.zeros(count, 1), torch.zeros(count))
        for i, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            optimizer.zero_grad()
            loss = 0.5 * (net - b[i]).square().sum()
            sums[i] += count * loss.detach()
            (loss + mus[i] / 2 * (net - target[i]).square().sum()).backward()
            optimizer.step()
    torch.testing.assert_close(descent.w, torch.stack([net.detach() for net in nets]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(descent.loss_sum, sums, rtol=1e-5, atol=0)


def test_a_penalty_for_some_nets_alone_is_refused() -> None:
    w, grad = torch.ones(2, 4), torch.zeros(2, 4)
    descent = Descent(w, grad, Quadratic(w, grad, w.clone()), torch.ones(4), SgdSettings(4, 0.0, False), fused=True)
    with pytest.raises(ValueError, match="some nets"):
        descent.set_penalties([None, Penalty(torch.ones(4), torch.ones(4))])


def test_weight_decay_spares_what_is_frozen() -> None:
    w, grad = torch.ones(1, 4), torch.zeros(1, 4)
    trainable = torch.tensor([1.0, 1.0, 0.0, 0.0])
    settings = SgdSettings(4, 0.0, False, weight_decay=0.5)
    descent = Descent(w, grad, Quadratic(w, grad, w.clone()), trainable, settings, fused=True)
    descent.set_rates([1.0])
    descent.batch(torch.zeros(1, 1), torch.zeros(1))
    assert w.tolist() == [[0.5, 0.5, 1.0, 1.0]]


def test_a_penaltys_value_is_its_definition_and_it_spares_what_has_no_task() -> None:
    penalty = Penalty(torch.tensor([4.0, 0.0, 4.0]), torch.tensor([0.0, 0.0, 1.0]))
    w, grad = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    assert penalty.value(w) == 0.5 * 4 * (1 + 4)
    penalty.add_gradient(w, grad)
    assert grad.tolist() == [4.0, 0.0, 8.0]
