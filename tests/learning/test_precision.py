"""What a precision means where."""

from __future__ import annotations

import pytest
import torch

from lctui.learning import precision
from lctui.learning.precision import arithmetic, tensor_cores

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("has", [False, True])
def test_a_cpu_rounds_to_bfloat16_only_where_that_is_faster(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: has)
    assert arithmetic("bfloat16", CPU) == ("bfloat16" if has else "float32")
    assert arithmetic("tf32", CPU) == arithmetic("float32", CPU) == "float32"
    assert [arithmetic(kind, GPU) for kind in ("float32", "tf32", "bfloat16")] == ["float32", "tf32", "bfloat16"]


def test_tf32_is_allowed_during_training_alone() -> None:
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    with tensor_cores("tf32"):
        assert matmul.allow_tf32 and convolution.allow_tf32
        with tensor_cores("float32"):
            assert not matmul.allow_tf32 and not convolution.allow_tf32
    assert (matmul.allow_tf32, convolution.allow_tf32) == before
