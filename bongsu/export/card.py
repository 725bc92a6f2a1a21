"""The model card: what a stranger must know of a bundle before using it (Mitchell et al. 2019), from the run's own records."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bongsu.corpus.stored import REPORT, read_corpus_report
from bongsu.export.quantization import LARGEST_LOSS, Int8Loss
from bongsu.files import read_json, redacted
from bongsu.finetuning.data import load_data
from bongsu.recipe import Recipe, show_recipe

_USE = {
    "onnx": '''```bash
pip install 'bongsu[serve]'          # no torch
bongsu predict FOLDER "Forest fire near La Ronge Sask."
bongsu serve FOLDER
```''',
    "hf": '''```python
from transformers import pipeline

pipeline("fill-mask", "FOLDER")("Forest [MASK] near La Ronge Sask.")
```

A stock ModernBERT: `AutoModelForMaskedLM`, `AutoModel` and `AutoTokenizer` open it without remote code. There is no `[CLS]`;
pool over tokens. In its prediction head dense and norm undo each other, since this model has nothing between the encoder and
the output matrix.''',
}  # fmt: skip

_NO_LICENCE = "Not stated by whoever exported it. The texts it was trained on may set terms for what was learned from them."


def model_card(
    run: Path, recipe: Recipe, kind: Literal["onnx", "hf"], licence: str | None, int8: Int8Loss | None = None
) -> str:
    """Markdown with the YAML head that model hubs read."""
    what = f"{recipe.task.kind.capitalize()} model" if kind == "onnx" and recipe.task else "Encoder with masked-LM output"
    if kind == "onnx" and recipe.ensemble.tfidf:
        what += " (an ensemble of an encoder and TF-IDF with a linear model)"
    head = ["---", "library_name: " + ("onnx" if kind == "onnx" else "transformers"), "tags: [bongsu]"]
    if kind == "hf":
        head.append("pipeline_tag: fill-mask")
    if licence:
        head.append(f"license: {licence}")
    sections = [
        "\n".join([*head, "---"]),
        f"# {recipe.name}\n\n{what}, trained with Bongsu from the recipe below.{_size(recipe)}",
        f"## Use\n\n{_USE[kind]}",
        f"## Data\n\n{_data(run, recipe)}",
        f"## Measured\n\n{_measured(run, recipe, int8)}",
        f"## Limits\n\n{_limits(recipe)}",
        f"## Licence\n\n{licence or _NO_LICENCE}",
        f"## Recipe\n\n<details>\n\n```toml\n{show_recipe(recipe).strip()}\n```\n\n</details>",
    ]
    return "\n\n".join(sections) + "\n"


def _size(recipe: Recipe) -> str:
    model = recipe.model
    if recipe.finetune.encoder or (recipe.pretrain and recipe.pretrain.start):
        return ""
    return (
        f" Encoder: {model.preset}, d_model {model.d_model}, {model.n_layers} layers of {model.n_heads} heads, "
        f"{recipe.tokenizer.vocab_size:,} entries of vocabulary."
    )


def _data(run: Path, recipe: Recipe) -> str:
    lines = []
    if (run / "corpus" / REPORT).is_file():
        corpus = read_corpus_report(run / "corpus")
        for source in corpus["sources"]:
            texts, size = source["texts"], source["bytes"]
            lines.append(f"- pre-training: {source['path']}, {texts:,} texts, {size:,} bytes")
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in corpus["dropped"].items()) or "none"
        lines.append(f"- kept for training: {corpus['splits']['train']:,} texts; dropped: {dropped}")
    elif recipe.finetune.encoder:
        lines.append(f"- encoder: {recipe.finetune.encoder}, pre-trained elsewhere")
    if recipe.task is not None and (folder := run / "finetune" / "data").is_dir():
        data = load_data(recipe, folder)
        lines.append(f"- fine-tuning: {redacted(recipe.task.train)}, {len(data.training):,} rows")
        lines += [f"  - {name}: {count:,}" for name, count in data.task.describe(data.training).items()]
    return "\n".join(lines) or "Not recorded."


def _measured(run: Path, recipe: Recipe, int8: Int8Loss | None) -> str:
    summary, config = run / "evaluation" / "summary.json", run / "pretrain" / "model" / "config.json"
    lines = []
    if summary.is_file():
        lines = [f"- {sentence}" for sentence in read_json(summary)["sentences"]]
    elif config.is_file() and (found := read_json(config)["extra"].get("validation")):
        lines.append(
            f"- masked tokens of held-out text: accuracy {found['accuracy']:.3f}, {found['bits_per_byte']:.2f} bits per byte"
        )
    if int8 is not None:
        held_out = int8.source == "test rows" or (not recipe.finetune.refit and recipe.validation.folds == 0)
        seen = "" if held_out else " (which it was trained on: they tell what int8 changes)"
        lines.append(
            f"- int8 engine, on {int8.rows:,} {int8.source}{seen}: {int8.changed:,} answers changed, {int8.metric} "
            f"{int8.float32:.4f} in float32, {int8.int8:.4f} in int8 ({int8.change})"
        )
        if not int8.accurate:
            lines.append(f"- int8 loses more than {LARGEST_LOSS} points here, so it is used only when asked for")
    return "\n".join(lines) or "Nothing was measured in this run."


def _limits(recipe: Recipe) -> str:
    lines = [
        "- Figures hold for texts like those measured on. On other years, events, languages or platforms, measure first.",
        "- A probability is not a proof: let a person decide before anything is done that cannot be undone.",
    ]
    if recipe.task is not None:
        lines.append(f"- Of a text the first {recipe.task.max_length} tokens are read.")
    if recipe.corpus and any(source.path.startswith(("bongsu:", "python:")) for source in recipe.corpus.sources):
        lines.append("- Trained on the text that comes with the package: a demonstration, far too little to rely on.")
    return "\n".join(lines)
