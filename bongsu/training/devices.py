"""Devices, precision and memory of training."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

import torch
from torch.utils._triton import has_triton

from bongsu.errors import OutOfMemoryError, RecipeError

_MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_TOP_PAD": -2, "M_MMAP_THRESHOLD": -3}  # numbers of glibc's malloc.h
Precision = Literal["float32", "bfloat16"]

# Messages of PyTorch's allocators that do not raise OutOfMemoryError.
_NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "std::bad_alloc")


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` prefers CUDA, then Apple's MPS, then the CPU.

    Raises:
        RecipeError: when the device is unknown or not available.
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
        there = ["auto", "cpu"]
        there += ["cuda"] if torch.cuda.is_available() else []
        there += ["mps"] if torch.backends.mps.is_available() else []
        others = " or ".join([", ".join(there[:-1]), there[-1]])
        raise RecipeError(f"device: {name!r} cannot be used on this machine ({reason}); here it may be {others}.") from None
    return device


def seed_random_numbers(device: torch.device, seed: int) -> None:
    """Do what `torch.manual_seed` does, without its milliseconds for GPUs that are not there."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of a name; `auto` is bfloat16 where the hardware supports it, else float32."""
    if name == "float32":
        return "float32"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        able = False
    return "bfloat16" if able or name == "bfloat16" else "float32"


def memory_bytes(device: torch.device) -> float:
    """Return the memory available to a process: a GPU's, or this machine's within the limits of its container."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        with suppress(OSError, ValueError):  # there is no container, or no limit
            limits.append(int(path.read_text()))
    limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return float(min(limits))


@contextmanager
def memory_errors(suggest_batch_size: Callable[[], str]) -> Iterator[None]:
    """Turn out-of-memory errors into one that suggests a batch size.

    Raises:
        OutOfMemoryError: with the message of `suggest_batch_size`.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in _NO_MEMORY)):
            raise
        raise OutOfMemoryError(f"Out of memory. {suggest_batch_size()}") from error


_LONG_RUN = 1000  # steps from which the minute or two of compiling for a GPU pay off


def compiles(choice: Literal["auto", "on", "off"], device: torch.device, steps: int) -> bool:
    """Return whether a run of so many steps is compiled.

    Raises:
        RecipeError: when compiling is requested and the compiler that `torch.compile` needs is missing.
    """
    if choice == "off" or (choice == "auto" and (device.type != "cuda" or steps < _LONG_RUN)):
        return False
    # Triton compiles GPU kernels; the code around them on the CPU is C++.
    there = has_triton() if device.type == "cuda" else any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))
    if not there and choice == "on":
        needed = "Triton" if device.type == "cuda" else "a C++ compiler"
        raise RecipeError(f'compile: on {device} torch.compile needs {needed}; install it, or set compile = "off".')
    return there


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return a context with matrix products in bfloat16, sums and losses in float32; a null context for float32."""
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step's tensors.

    By default glibc maps memory anew for every large tensor, and the kernel zeroes it page by page: about one second in seven
    of a training step on a CPU (`benchmarks/pretraining.py`). Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MALLOPT["M_MMAP_THRESHOLD"], 2**30)
        library.mallopt(_MALLOPT["M_TRIM_THRESHOLD"], 2**31 - 1)
        library.mallopt(_MALLOPT["M_TOP_PAD"], 2**26)


# Dense bfloat16 FLOP/s of tensor cores without sparsity, as published by the vendors; the first match counts.
_PEAK_BFLOAT16 = {
    "B200": 2250e12,
    "B100": 1750e12,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10": 125e12,
    "A10G": 70e12,
    "RTX 6000 Ada": 364e12,
    "RTX A6000": 155e12,
    "RTX 5090": 210e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
    "MI250": 362e12,
}


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """Return the published bfloat16 rate of a GPU in FLOP/s; None for other devices and precisions."""
    if device.type != "cuda" or precision != "bfloat16":
        return None
    return published_flops(torch.cuda.get_device_name(device))


def published_flops(name: str) -> float | None:
    """Return the published bfloat16 rate of a GPU by its name, in FLOP/s."""
    return next((rate for part, rate in _PEAK_BFLOAT16.items() if re.search(rf"\b{part}\b", name)), None)
