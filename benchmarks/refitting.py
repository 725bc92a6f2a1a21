"""What a full refit makes of labels taken during an event, beside the correction: fine-tuned detectors, each event left out.

    python -m benchmarks.refitting CrisisLexT6.csv [--seeds 2] [--rows 3000]

For each event the encoder `bongsu:beacon`, which read none of the messages, is fine-tuned on rows of the other events; features
of as many other rows are stored. Labels come from half of the event by the mixed queue, both ways learn from the same ones, and
the other half is measured on. A full refit begins at the encoder again, on the same rows and the labels, which weigh a third.
Near-duplicates are left out everywhere. The seconds are of CPU time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.beacon import read_labelled
from benchmarks.labelling import LONGEST, Event, Plan, State, learned, promises, run, table, taken_over
from bongsu.arrays import Array, Float32, Int64
from bongsu.corpus.cleaning import Cleaner
from bongsu.corpus.dedup import near_groups
from bongsu.labelling.features import Grams, Rows, Stored
from bongsu.labelling.learning import SHARE, Learner
from bongsu.model.heads import CNNConfig, mean_pooled
from bongsu.model.io import load_encoder
from bongsu.model.task_model import TaskModel
from bongsu.models import packaged
from bongsu.recipe import Classification
from bongsu.tokens.bpe import load_tokenizer
from bongsu.tokens.inputs import cleaned, encode, pad
from bongsu.training.optimizers import parameter_groups

EPOCHS, BATCH, RATE = 2, 32, 4e-4


def fine_tuned(folder: Path, ids: Sequence[Int64], labels: Int64, weights: Float32) -> TaskModel:
    """Return the encoder of a folder with a head, fine-tuned on weighted rows; deterministic."""
    torch.manual_seed(0)
    draw, model = np.random.default_rng(0), TaskModel(load_encoder(folder), CNNConfig(2)).train()
    optimizer = torch.optim.AdamW(parameter_groups(model, RATE, 0.01))
    steps = EPOCHS * -(-len(ids) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(EPOCHS):
        for batch in np.array_split(draw.permutation(len(ids)), steps // EPOCHS):
            scores = model(torch.from_numpy(pad([ids[row] for row in batch])))
            losses = F.cross_entropy(scores, torch.from_numpy(labels[batch]), reduction="none")
            loss = (losses * torch.from_numpy(weights[batch])).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def read(model: TaskModel, ids: Sequence[Int64]) -> tuple[Float32, Float32]:
    """Return pooled vectors [N, d_model] and log-odds [N]."""
    vectors, logits = np.zeros((len(ids), model.encoder.config.d_model), np.float32), np.zeros(len(ids), np.float32)
    order = np.argsort([len(row) for row in ids], kind="stable")
    with torch.inference_mode():
        for rows in np.array_split(order, max(1, len(ids) // 64)):
            hidden, valid = model.hidden(torch.from_numpy(pad([ids[row] for row in rows])))
            scores = model.head(hidden, valid)
            vectors[rows], logits[rows] = mean_pooled(hidden, valid).numpy(), (scores[:, 1] - scores[:, 0]).numpy()
    return vectors, logits


@dataclass
class Refit:
    """Fine-tunes anew on the rows of other events and the labels; counts the seconds."""

    folder: Path
    rows: list[Int64]
    labels: Int64
    event: list[Int64]
    """The ids of the event's messages."""
    steps: list[int]
    seconds: list[float] = field(default_factory=list)

    def __call__(self, state: State) -> Array | None:
        if len(state.asked) not in self.steps:
            return None
        start, old, new = time.process_time(), len(self.rows), len(state.asked)
        weights = np.concatenate([np.ones(old), np.full(new, SHARE / (1.0 - SHARE) * old / new)]).astype(np.float32)
        ids = [*self.rows, *(self.event[row] for row in state.asked)]
        model = fine_tuned(self.folder, ids, np.concatenate([self.labels, state.answers]), weights)
        self.seconds.append(time.process_time() - start)
        return read(model, [self.event[row] for row in state.test])[1]


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=3000, help="training rows; as many others are stored")
    parser.add_argument("--most", type=int, default=3000, help="messages of an event")
    parser.add_argument("--events", nargs="+", help="these alone")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200], help="labels after which it is fine-tuned anew")
    parser.add_argument(
        "--groups", type=Path, help="near-duplicates as `benchmarks.labelling --cache` keeps them: FOLDER/NAME.npz"
    )
    arguments = parser.parse_args()
    folder = packaged("bongsu:beacon", "encoder")
    assert folder is not None
    rows = read_labelled(arguments.file)
    texts = cleaned(Cleaner(Classification(train="").cleaning), [row.text for row in rows])
    groups = near_groups(texts) if arguments.groups is None else np.load(arguments.groups)["groups"]
    first = np.sort(np.unique(groups, return_index=True)[1])
    labels = np.array([rows[row].label for row in first])
    times = np.array([rows[row].time for row in first])
    names, owner = np.unique([rows[row].event for row in first], return_inverse=True)
    kept = [texts[row] for row in first]
    ids = encode(load_tokenizer(folder), kept, LONGEST)
    for number, name in enumerate(names.tolist()):
        if arguments.events and name not in arguments.events:
            continue
        draw, start = np.random.default_rng(number), time.process_time()
        others = draw.permutation(np.flatnonzero(owner != number))
        training, stored = others[: arguments.rows], others[arguments.rows : 2 * arguments.rows]
        held = draw.permutation(np.flatnonzero(owner == number))[: arguments.most]
        refit = Refit(folder, [ids[row] for row in training], labels[training], [ids[row] for row in held], arguments.steps)
        model = fine_tuned(folder, refit.rows, refit.labels, np.ones(len(training), np.float32))
        seconds = time.process_time() - start
        old, new = (
            Rows(*read(model, [ids[row] for row in part]), Grams.of([kept[row] for row in part])) for part in (stored, held)
        )
        of_event = owner[stored].astype(np.int64)
        event = Event(
            name, Learner(Stored(old, labels[stored], of_event, names.tolist(), None)), new, labels[held], times[held]
        )
        promises(name, [event])
        plan = Plan({"correction": learned, "correction, as taken over": taken_over, "full refit": refit})
        table(name, run(name, [event], [plan], arguments.seeds))
        print(
            f"{name}: fine-tuned in {seconds:.0f} s, a full refit took {np.mean(refit.seconds):.0f} s of CPU time", flush=True
        )


if __name__ == "__main__":
    main()
