"""`bongsu plan`."""

from __future__ import annotations

from pathlib import Path

import torch

from bongsu.model.encoder import EncoderConfig
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pipeline.planning import estimate
from bongsu.recipe import parse_recipe


def test_counts_what_will_be_run(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a few words to learn from\n" * 4000)
    recipe = parse_recipe(
        {
            "corpus": {"sources": [{"path": str(tmp_path / "in.txt")}]},
            "tokenizer": {"vocab_size": 500},
            "model": {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_length": 32},
            "pretrain": {"row_length": 32, "batch_sentences": 16, "epochs": 2, "device": "cpu"},
        }
    )
    found = estimate(recipe, tmp_path / "run")
    model = MaskedLanguageModel(EncoderConfig.from_recipe(recipe.model, 500))
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not found.exact
    assert found.steps == -(-2 * found.sentences // 16)
    assert found.tokens_per_second > 0
    assert found.seconds > 0
    assert found.memory_bytes > 4 * found.parameters
    assert torch.device(found.device).type == "cpu"
