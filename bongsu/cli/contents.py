"""What `bongsu --help` says of the verbs: how they are grouped, and two examples of each."""

from __future__ import annotations

from rich.markup import escape
from typer import Typer

PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "predict": (
            'bongsu predict "Forest fire near La Ronge Sask."',
            "bongsu predict runs/tweets test.csv --output answers.csv",
        ),
        "demo": ("bongsu demo", "bongsu demo --out /tmp/demo"),
        "init": ("bongsu init tweets.csv", "bongsu init reviews.csv --text body --label stars --out reviews.toml"),
        "plan": ("bongsu plan recipes/tweets.toml", "bongsu plan mine.toml --set pretrain.epochs=20"),
        "run": ("bongsu run mine.toml", "bongsu run recipes/tweets.toml --set task.train=train.csv"),
    },
    "Run one stage": {
        "prepare": ("bongsu prepare mine.toml", "bongsu prepare mine.toml --ray local"),
        "tokenizer": ("bongsu tokenizer mine.toml", "bongsu tokenizer mine.toml --set tokenizer.vocab_size=16000"),
        "encode": ("bongsu encode mine.toml", "bongsu encode mine.toml --ray auto"),
        "pretrain": ("bongsu pretrain mine.toml", "bongsu pretrain mine.toml --workers 4"),
        "adapt": ("bongsu adapt recipes/kaggle-gpu.toml", "bongsu adapt mine.toml --set adapt.epochs=3"),
        "finetune": (
            "bongsu finetune mine.toml",
            "bongsu finetune mine.toml --set finetune.encoder=runs/big --out runs/b",
        ),
        "evaluate": ("bongsu evaluate mine.toml", "bongsu evaluate mine.toml --set evaluate.threshold=0.4"),
    },
    "Use a model": {
        "embed": (
            "bongsu embed --input test.csv --output vectors.npy",
            "bongsu embed runs/tweets --input test.csv --query flood",
        ),
        "export": ("bongsu export runs/tweets", "bongsu export bongsu:beacon --to hf --out my-encoder"),
        "import": ("bongsu import modernbert --out encoder", "bongsu import ../my-encoder --out encoders/second"),
    },
    "Look and compare": {
        "info": ("bongsu info bongsu:beacon", "bongsu info runs/tweets"),
        "compare": ("bongsu compare runs/first runs/second", "bongsu compare runs/*"),
        "audit": ("bongsu audit train.csv", "bongsu audit train.csv test.csv --label class --run runs/tweets"),
        "tune": ("bongsu tune studies/activation.toml --small", "bongsu tune studies/activation.toml --check"),
    },
    "Serve and watch": {
        "serve": ("bongsu serve", "bongsu serve runs/tweets --host 0.0.0.0 --port 80 --api-key-file key.txt"),
        "watch": ("bongsu watch messages.jsonl", "bongsu watch runs/tweets log.jsonl --follow --page 8000"),
        "label": (
            "bongsu label messages.csv --model runs/tweets",
            "bongsu label watch.db --output labels.csv --event Seoul-flood",
        ),
        "alerts": ("bongsu alerts watch.db", "bongsu alerts watch.db --silence fire --hours 2"),
    },
}
"""Of each panel its verbs, in the order of a first day's work, with their examples."""


def arrange(app: Typer) -> None:
    """Put the verbs of an application into their panels, in order, each with its examples."""
    placed = {verb: (panel, examples) for panel, verbs in PANELS.items() for verb, examples in verbs.items()}
    order = list(placed)
    for command in app.registered_commands:
        command.name = command.name or str(getattr(command.callback, "__name__", ""))
        command.rich_help_panel, examples = placed[command.name]
        command.epilog = "\n\n".join(["Examples:", *(f"  {escape(example)}" for example in examples)])
    app.registered_commands.sort(key=lambda command: order.index(command.name or ""))
