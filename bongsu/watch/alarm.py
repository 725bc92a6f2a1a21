"""Which classes of a detector a watch raises alarms on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bongsu.arrays import Float32
from bongsu.errors import BongsuError
from bongsu.inference.predictor import Predictor
from bongsu.tasks.classification import ClassificationTask


class Alarm:
    """A classifier as a watch asks it: how likely it is that a message is of one of the classes to raise alarms on."""

    def __init__(self, detector: Predictor, classes: Sequence[str] = ()) -> None:
        """
        Args:
            classes: names of classes; of two classes by default the positive one.

        Raises:
            BongsuError: when the detector is no classifier, or has no such class, or the classes are not named.
        """
        task = detector.task
        if not isinstance(task, ClassificationTask) or task.pairs:
            raise BongsuError(f"A watch needs a classifier of texts; this is a {task.kind} model.")
        there = ", ".join(task.names)
        for name in classes:
            if name not in task.names:
                raise BongsuError(f"--alarm-class {name}: the classes are {there}.")
        if not classes and len(task.names) != 2:
            raise BongsuError(f"Name a class to raise alarms on with --alarm-class, once for each; the classes are {there}.")
        if len(set(classes)) == len(task.names):
            raise BongsuError(f"--alarm-class: these are all the classes there are ({there}); every message would pass.")
        self._detector = detector
        self._columns = [task.names.index(name) for name in dict.fromkeys(classes)] or [1]
        positive, threshold = self._columns == [1], detector.threshold
        self.threshold = 0.5 if len(task.names) > 2 else threshold if positive else 1.0 - threshold
        """The probability from which a message passes: of two classes the detector's, of more one half."""

    def probabilities(self, texts: list[str]) -> Float32:
        """Return the probability that each text is of one of the classes, [texts]."""
        total: Float32 = np.asarray(self._detector.probabilities(texts)[:, self._columns].sum(axis=1), dtype=np.float32)
        return total
