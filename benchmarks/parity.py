"""The same encoder fine-tuned by Bongsu and by a plain `Trainer` of transformers: scores over seeds, and seconds.

    python -m benchmarks.parity DATA OUT ENCODER [NAME ...] [--seeds 3] [--epochs 3] [--rows 2000]

DATA is as for `benchmarks.kinds`, ENCODER a folder that transformers can open. Both sides draw from the same rows, and train
at the same learning rate, batch size and number of epochs, and are scored on the same test rows. The peer has the heads of
transformers and pads each batch to its longest row. Each side leaves out a tenth of the rows: Bongsu calibrates by it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import pearsonr
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import bongsu
from benchmarks.kinds import SETS, split, write_recipe
from benchmarks.measuring import markdown
from bongsu.files import read_json
from bongsu.recipe import load_recipe
from bongsu.tasks.answering import token_f1
from bongsu.tasks.registry import AnyTask, build_task
from bongsu.tasks.task import Calibration, Example, Outputs

NAMES = ["wnut17", "stsb", "klue-nli", "xquad"]
COLUMNS = ["kind", "set", "rows", "metric", "Bongsu", "Trainer", "Bongsu, s", "Trainer, s"]
LEFT_OUT = 0.1
BATCH = 32
WARMUP = 0.1

Examples = Sequence[Example[Any]]
Rows = list[dict[str, Any]]


def bongsu_side(name: str, folder: Path, options: argparse.Namespace) -> float:
    """Run the recipe of a set and return the main metric of its model on the test rows."""
    recipe = write_recipe(folder, name, SETS[name], options)
    changes = ["validation.development=0.02", "finetune.patience=none", f"finetune.batch_size={BATCH}"]
    run = bongsu.run(recipe, out=folder / f"run-{options.seed}", changes=changes)
    section = read_json(run.path / "evaluation" / "summary.json")["task_test"]
    model = next(iter(section["models"].values()))
    return float(model[section["metrics"][0][0]])


def peer_side(task: AnyTask, training: Examples, test: Examples, folder: Path, options: argparse.Namespace) -> float:
    """Train the model that transformers has for the task and return the main metric on the test rows."""
    random.Random(options.seed).shuffle(kept := list(training))
    kept = kept[round(LEFT_OUT * len(kept)) :]
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    rows, tests = [_rows(task, tokenizer, examples) for examples in (kept, test)]
    tagging, answering = task.kind == "tagging", task.kind == "answering"
    kind = (
        AutoModelForTokenClassification
        if tagging
        else AutoModelForQuestionAnswering
        if answering
        else AutoModelForSequenceClassification
    )
    labels = 2 if answering else max(1, len(task.schema.labels))
    settings = TrainingArguments(
        output_dir=str(folder / "peer"),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        learning_rate=options.encoder_learning_rate,
        warmup_steps=round(WARMUP * options.epochs * len(rows) / BATCH),
        weight_decay=0.01,
        seed=options.seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=True,
    )
    collator = DataCollatorForTokenClassification(tokenizer) if tagging else DataCollatorWithPadding(tokenizer)
    trainer = Trainer(
        model_init=lambda: kind.from_pretrained(options.folder, num_labels=labels),
        args=settings,
        train_dataset=rows,
        data_collator=collator,
    )
    trainer.train()
    # The longest rows first would be quicker; in the order of the file, outputs are where their rows are.
    outputs = trainer.predict(
        [{key: value for key, value in row.items() if not key.startswith("_")} for row in tests]
    ).predictions
    return _score(task, test, tests, outputs)


def _rows(task: AnyTask, tokenizer: Any, examples: Examples) -> Rows:
    """Return what a model of transformers reads of some examples, with their targets."""
    length = task.settings.max_length
    if task.kind == "tagging":
        return [_tagged(task, tokenizer, example, length) for example in examples]
    if task.kind == "answering":
        return [row for number, example in enumerate(examples) for row in _windows(task, tokenizer, example, number, length)]
    labels = task.schema.labels
    targets = [
        labels.index(each.target) if labels else (each.target - task.schema.shift) / task.schema.scale for each in examples
    ]
    return [
        {**tokenizer(*example.inputs, truncation=True, max_length=length), "labels": target}
        for example, target in zip(examples, targets, strict=True)
    ]


def _tagged(task: AnyTask, tokenizer: Any, example: Example[Any], length: int) -> dict[str, Any]:
    """Return the words of a text with the tag of each at its first piece."""
    text = example.inputs[0]
    units = task.units(text)
    row = tokenizer([text[a:b] for a, b in units], is_split_into_words=True, truncation=True, max_length=length)
    index = {label: number for number, label in enumerate(task.schema.labels)}
    tags = [0] * len(units)
    for start, end, name in example.target:
        inside = [unit for unit, (begin, _) in enumerate(units) if start <= begin < end]
        for place, unit in enumerate(inside):
            tags[unit] = index.get(f"{'I' if place else 'B'}-{name}", 0)
    words = row.word_ids()
    first = [word is not None and word != before for word, before in zip(words, [None, *words], strict=False)]
    return {**row, "labels": [tags[word] if begins else -100 for word, begins in zip(words, first, strict=True)]}


def _windows(task: AnyTask, tokenizer: Any, example: Example[Any], number: int, length: int) -> Rows:
    """Return the windows of a text with the first and last token of the answer, or 0 where it is not in the window."""
    read = tokenizer(
        *example.inputs,
        truncation="only_second",
        max_length=length,
        stride=task.settings.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows = []
    for window, offsets in enumerate(read["offset_mapping"]):
        inside = [side == 1 for side in read.sequence_ids(window)]
        start = end = 0
        if example.target:
            text, begin = example.target[0]
            first = [t for t, (a, b) in enumerate(offsets) if inside[t] and a <= begin < b]
            last = [t for t, (a, b) in enumerate(offsets) if inside[t] and a < begin + len(text) <= b]
            if first and last:
                start, end = first[0], last[0]
        ids = {key: read[key][window] for key in ("input_ids", "token_type_ids", "attention_mask")}
        places = [place if side else None for place, side in zip(offsets, inside, strict=True)]
        rows.append({**ids, "start_positions": start, "end_positions": end, "_example": number, "_places": places})
    return rows


def _score(task: AnyTask, test: Examples, rows: Rows, outputs: Any) -> float:
    """Return the main metric of a task, of the outputs of a model of transformers."""
    if task.kind == "answering":
        return _answer_score(task, test, rows, outputs)
    if task.kind == "tagging":
        tables = []
        for row, example, output in zip(rows, test, outputs, strict=True):
            table = np.zeros((len(task.units(example.inputs[0])), len(task.schema.labels)))
            table[:, 0] = 1.0
            read = [token for token, label in enumerate(row["labels"]) if label != -100]
            table[: len(read)] = np.eye(table.shape[1])[output[read].argmax(-1)]
            tables.append(table)
        return float(task.score(test, Outputs.of_tables(tables, len(task.schema.labels)), Calibration())["f1"])
    wanted = [row["labels"] for row in rows]
    if task.schema.labels:
        return float(np.mean(outputs.argmax(-1) == np.array(wanted)))
    return float(pearsonr(outputs[:, 0], wanted).statistic)


def _answer_score(task: AnyTask, test: Examples, rows: Rows, outputs: Any) -> float:
    """Return the F1 of the span of largest sum of logits over the windows of each question."""
    best: dict[int, tuple[float, str]] = {}
    for row, start, end in zip(rows, *outputs[:2], strict=True):
        places, number = row["_places"], row["_example"]
        context = test[number].inputs[1]
        inside = [token for token, place in enumerate(places) if place is not None]
        firsts = sorted(inside, key=lambda token: -start[token])[:20]
        lasts = sorted(inside, key=lambda token: -end[token])[:20]
        for first in firsts:
            for last in lasts:
                if first <= last < first + task.settings.max_answer:
                    text = context[places[first][0] : places[last][1]].strip()
                    best[number] = max(best.get(number, (-np.inf, "")), (float(start[first] + end[last]), text))
    answers = [best.get(number, (0.0, ""))[1] for number in range(len(test))]
    return float(np.mean([token_f1(text, example.target) for text, example in zip(answers, test, strict=True)]))


def measure(name: str, options: argparse.Namespace) -> list[str]:
    """Train both sides with every seed, in turn, and return the row of a set."""
    chosen, folder = SETS[name], options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    training, test = (random.Random(0).sample(part, min(options.rows, len(part))) for part in split(options.data, chosen))
    chosen.write(folder, training, test)
    scores: dict[str, list[float]] = {"Bongsu": [], "Trainer": []}
    seconds: dict[str, list[float]] = {"Bongsu": [], "Trainer": []}
    for seed in range(1, options.seeds + 1):
        options.seed = seed
        begun = time.monotonic()
        scores["Bongsu"].append(bongsu_side(name, folder, options))
        seconds["Bongsu"].append(time.monotonic() - begun)
        settings = load_recipe(folder / "recipe.toml").task
        assert settings is not None
        task = build_task(settings)
        rows = [task.read(str(folder / f"{part}{chosen.form.suffix}"), {}) for part in ("train", "test")]
        task.schema = task.learn_schema(rows[0])
        begun = time.monotonic()
        scores["Trainer"].append(peer_side(task, *rows, folder, options))
        seconds["Trainer"].append(time.monotonic() - begun)
        print(f"{name}, seed {seed}: {scores} {seconds}", flush=True)
    shown = [f"{statistics.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in scores.values()]
    times = [f"{statistics.median(each):.0f}" for each in seconds.values()]
    return [chosen.task["kind"], name, f"{len(training):,} / {len(test):,}", task.metrics[0].title, *shown, *times]


def main() -> None:
    """Measure the sets that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", metavar="ENCODER")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default {', '.join(NAMES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--encoder-learning-rate", type=float, default=1e-4)
    options = parser.parse_args()
    options.encoder = f"hf:{options.folder}"
    rows = [measure(name, options) for name in options.names or NAMES]
    print("\n" + markdown(COLUMNS, rows))


if __name__ == "__main__":
    main()
