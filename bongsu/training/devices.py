"""Where training runs, and in what precision."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Literal

import torch

from bongsu.errors import RecipeError

_MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_TOP_PAD": -2, "M_MMAP_THRESHOLD": -3}  # numbers of glibc's malloc.h
Precision = Literal["float32", "bfloat16"]


def resolve_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        RecipeError: when the device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"device: {name!r} cannot be used on this machine ({reason}); try auto, cpu or cuda.") from None
    return device


def seed_random_numbers(device: torch.device, seed: int) -> None:
    """As `torch.manual_seed`, which without a GPU spends milliseconds on keeping the seed for one."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """`auto` takes bfloat16 where the processor computes with it, else float32."""
    if name == "float32":
        return "float32"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        able = False
    return "bfloat16" if able or name == "bfloat16" else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Matrix products in bfloat16, sums and losses in float32; nothing at all for float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def keep_freed_memory() -> None:
    """Lets the C library keep what tensors gave back, for the next step's.

    By default glibc takes every large tensor from the system anew, which fills it with zeros page by page: about one second in
    seven of a training step on a CPU (`benchmarks/pretraining.py`). Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MALLOPT["M_MMAP_THRESHOLD"], 2**30)
        library.mallopt(_MALLOPT["M_TRIM_THRESHOLD"], 2**31 - 1)
        library.mallopt(_MALLOPT["M_TOP_PAD"], 2**26)
