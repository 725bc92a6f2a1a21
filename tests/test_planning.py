"""`bongsu plan`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
import zstandard

from bongsu.errors import RecipeError
from bongsu.model.encoder import EncoderConfig
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.pipeline import sampling
from bongsu.pipeline.planning import estimate
from bongsu.pipeline.running import run
from bongsu.pipeline.sampling import sample_corpus
from bongsu.pipeline.timing import plan_run
from bongsu.recipe import Recipe, parse_recipe
from bongsu.workspace import Workspace


def recipe_of(path: Path, **sections: object) -> Recipe:
    return parse_recipe(
        {
            "corpus": {"sources": [{"path": str(path)}], "validation": 0.1},
            "tokenizer": {"vocab_size": 400},
            "model": {"d_model": 32, "n_layers": 1, "n_heads": 2, "max_length": 32},
            "pretrain": {"row_length": 32, "batch_sentences": 16, "steps": 2, "device": "cpu", "evaluations": 1},
            **sections,
        }
    )


def sentences(count: int) -> list[str]:
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghik", k=draw.randint(1, 7))) for _ in range(900)]
    return [" ".join(words[int(900 * draw.random() ** 2)] for _ in range(draw.randint(3, 20))) for _ in range(count)]


def test_counts_what_will_be_run(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a few words to learn from\n" * 4000)
    recipe = recipe_of(tmp_path / "in.txt", pretrain={"row_length": 32, "batch_sentences": 16, "epochs": 2, "device": "cpu"})
    found = estimate(recipe, tmp_path / "run")
    model = MaskedLanguageModel(EncoderConfig.from_recipe(recipe.model, 400))
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not found.exact
    assert found.steps == -(-2 * found.sentences // 16)
    assert found.tokens_per_second > 0
    assert found.seconds > 0
    assert found.memory_bytes > 4 * found.parameters
    assert torch.device(found.device).type == "cpu"


@pytest.mark.parametrize("suffix", [".txt", ".txt.zst", ".csv", ".parquet"])
def test_tokens_of_a_sample_are_near_those_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path, lines = tmp_path / f"in{suffix}", sentences(6000)
    content = "\n".join(["text", *lines] if suffix == ".csv" else lines).encode() + b"\n"
    if suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"text": lines}), path)
    else:
        path.write_bytes(zstandard.compress(content) if suffix.endswith(".zst") else content)
    recipe = recipe_of(path)
    exact = sample_corpus(recipe, tmp_path / "whole")
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 60_000)
    guessed = sample_corpus(recipe, tmp_path / "sample")
    assert exact is not None
    assert guessed is not None
    assert exact.scale == 1.0
    assert guessed.scale > 3.0
    assert guessed.tokens == pytest.approx(exact.tokens, rel=0.2)
    assert guessed.sentences == pytest.approx(exact.sentences, rel=0.2)
    assert all(seconds > 0 for seconds in guessed.seconds.values())


def test_a_sample_too_small_for_the_vocabulary_makes_do_with_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.txt").write_text("\n".join(sentences(3000)))
    recipe = recipe_of(tmp_path / "in.txt", tokenizer={"vocab_size": 1500})
    exact = sample_corpus(recipe, tmp_path / "whole")
    with pytest.raises(RecipeError, match="vocab_size: 90000 is larger than this text can fill"):
        sample_corpus(recipe_of(tmp_path / "in.txt", tokenizer={"vocab_size": 90000}), tmp_path / "again")
    monkeypatch.setattr(sampling, "SAMPLE_BYTES", 20_000)
    guessed = sample_corpus(recipe, tmp_path / "sample")
    assert exact is not None
    assert guessed is not None
    assert guessed.tokens == pytest.approx(exact.tokens, rel=0.4)


def test_what_cannot_be_looked_at_is_left_to_the_run(tmp_path: Path) -> None:
    assert sample_corpus(recipe_of(Path("x"), corpus={"sources": [{"path": "https://host/x.txt"}]}), tmp_path) is None


def test_every_stage_has_a_time_and_none_once_it_is_done(tmp_path: Path) -> None:
    lines = sentences(200)
    rows = [f"{number},{text},{number % 2}" for number, text in enumerate(lines)]
    (tmp_path / "in.csv").write_text("\n".join(["id,text,target", *rows]))
    (tmp_path / "new.csv").write_text("\n".join(["id,text", *(f"{number},{text}" for number, text in enumerate(lines[:20]))]))
    path = str(tmp_path / "in.csv")
    recipe = recipe_of(
        tmp_path / "in.csv",
        adapt={"row_length": 32, "batch_sentences": 16, "steps": 1, "device": "cpu", "evaluations": 1},
        task={"train": path, "test": path, "max_length": 32, "head": {"filters": 8}},
        finetune={"epochs": 1, "device": "cpu"},
        validation={"folds": 2},
        predict={"input": str(tmp_path / "new.csv")},
    )
    workspace = Workspace(tmp_path / "run")
    planned = plan_run(recipe, workspace)
    assert [stage.name for stage in planned.stages][-2:] == ["evaluation", "predictions"]
    assert all(stage.seconds is not None and stage.seconds > 0 for stage in planned.stages)
    assert not any(stage.done for stage in planned.stages)
    assert planned.seconds == pytest.approx(sum(stage.seconds or 0.0 for stage in planned.stages))
    assert not workspace.path.exists()
    run(recipe, workspace.path, "pretrain")
    partly = plan_run(recipe, workspace)
    assert [stage.name for stage in partly.stages if stage.done] == ["corpus", "tokenizer", "tokens", "pretrain"]
    assert all(stage.seconds == 0.0 for stage in partly.stages if stage.done)
    assert all(stage.seconds is not None and stage.seconds > 0 for stage in partly.stages if not stage.done)
    assert partly.pretraining is not None
    assert partly.pretraining.exact
