"""Learning rate schedules, as a factor on the peak rate: a pure function of the step."""

from __future__ import annotations

import math

from bongsu.recipe import Optimization

SMALLEST = 1e-4  # an exponential never reaches 0


def learning_rate_factor(settings: Optimization, step: int, total: int) -> float:
    """Return the factor at `step` (0-based) of `total`.

    All schedules first rise linearly over `warmup`. Then: constant; linear to `final`; cosine to `final`; cosine with warm
    restarts (SGDR, Loshchilov and Hutter 2017), `cycles` times; exponential to `final`; warm-up-stable-decay (Hu et al.
    2024), level and then linearly to `final` over the last `decay` of the steps.
    """
    warmup = round(settings.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))  # 0 ... 1 after warm-up
    final = settings.final
    match settings.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - (1.0 - final) * share
        case "cosine":
            return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * share))
        case "cosine_restarts":
            span = max(1, total - warmup)  # in whole numbers: a restart must not be missed by a rounding error
            within = (step - warmup) * settings.cycles % span / span if share < 1.0 else 1.0
            return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * within))
        case "exponential":
            return float(max(final, SMALLEST) ** share)
        case "wsd":
            decay = max(1, min(round(settings.decay * total), total - warmup))
            return 1.0 - (1.0 - final) * min(1.0, max(0.0, (step - (total - decay)) / decay))
