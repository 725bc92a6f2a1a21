"""What a fold is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bongsu.errors import DataError, RecipeError
from bongsu.files import read_json
from bongsu.finetuning.baselines import tfidf_logistic
from bongsu.finetuning.cross_validation import Finetuning
from bongsu.finetuning.data import read_labelled
from bongsu.finetuning.refit import finetune
from bongsu.finetuning.splits import distinct
from bongsu.finetuning.trainable import probabilities
from bongsu.inference.torch_backend import Detector
from bongsu.model.encoder import EncoderConfig
from bongsu.model.initialization import initialize
from bongsu.model.io import load_classifier, save_encoder
from bongsu.model.masked_lm import MaskedLanguageModel
from bongsu.recipe import Recipe, parse_recipe
from bongsu.tokens.bpe import save_tokenizer
from bongsu.tokens.inputs import encode


def make(tokenizer: Tokenizer, folder: Path, **changes: object) -> Recipe:
    model = MaskedLanguageModel(EncoderConfig(tokenizer.get_vocab_size(), "modern", 16, 1, 2, 32, "geglu", 0.0, 32))
    initialize(model, 1)
    save_encoder(folder / "encoder", model)
    save_tokenizer(tokenizer, folder / "encoder", 32)
    words = ["fire", "flood", "quake", "storm", "joke", "song", "film", "game"]
    rows = [f"the {words[n % 8]} number {n * 37} of {n} in street {n * 11},{int(n % 8 < 4)}" for n in range(48)]
    (folder / "train.csv").write_text("text,target\n" + "\n".join([*rows, rows[0], rows[8].replace("the", "THE")]) + "\n")
    extra = [rows[5], "a new text about a flood in the valley,1", "another one of somebody singing loudly,0"]
    (folder / "extra.csv").write_text("text,target\n" + "\n".join(extra) + "\n")
    settings = {"train": str(folder / "train.csv"), "encoder": "x", "extra": [{"path": str(folder / "extra.csv")}], "folds": 3,
                "epochs": 1, "filters": 4, "max_length": 32, **changes}  # fmt: skip
    return parse_recipe({"finetune": settings})


def test_no_fold_trains_on_what_it_measures(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path)
    settings = recipe.finetune
    assert settings is not None
    data = read_labelled(settings, settings.train, {})
    work = Finetuning(recipe, settings, tmp_path / "encoder", tmp_path / "out", data, None)
    for train, held in work.splits():
        extra = work.extra(held)
        assert not {work.cleaned[row].lower() for row in [*train, *extra]} & {work.cleaned[row].lower() for row in held}
        assert {51, 52} <= set(extra.tolist())
        assert (50 in extra) == (5 not in held)
        task = work.task(np.concatenate([train, extra]), work.take(held), 0)
        shown = [tuple(ids) for ids in task.training.ids]
        assert len(shown) == len(set(shown))


def test_paraphrases_are_shown_of_training_texts_alone(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    recipe = make(tokenizer, tmp_path, augmentation="pairs", pairs=str(pairs), augmented=1.0)
    settings = recipe.finetune
    assert settings is not None
    data = read_labelled(settings, settings.train, {})
    one, two, three = data.cleaned[:3]
    rows = [(one, "a blaze on the hill"), (one.upper(), "the hill burns"), (two, three), (three, ""), ("not there", "at all")]
    pairs.write_text("text,paraphrase\n" + "\n".join(f'"{text}","{paraphrase}"' for text, paraphrase in rows) + "\n")
    work = Finetuning(recipe, settings, tmp_path / "encoder", tmp_path / "out", data, None)
    show = work.augmentation(np.arange(3), seed=0)
    both = encode(tokenizer, ["a blaze on the hill", "the hill burns"], 32)
    assert [show(0, epoch).tolist() for epoch in range(4)] == [ids.tolist() for ids in both] * 2
    for row in (1, 2):  # nothing that is measured on, nothing empty
        assert np.array_equal(show(row, 0), work.ids[row])
    pairs.write_text('text,paraphrase\n"not there","at all"\n')
    with pytest.raises(DataError, match="none of its texts"):
        Finetuning(recipe, settings, tmp_path / "encoder", tmp_path / "out", data, None)
    with pytest.raises(RecipeError, match="go together"):
        make(tokenizer, tmp_path, augmentation="pairs")


def test_links_and_context_are_left_out_of_as_many_texts_as_asked(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(
        tokenizer, tmp_path, train=str(tmp_path / "linked.csv"), context=["place"], link_dropout=0.5, context_dropout=0.3
    )
    rows = [f"the storm number {n * 37} https://t.co/a{n},{n % 2},Seoul" for n in range(400)]
    (tmp_path / "linked.csv").write_text("text,target,place\n" + "\n".join(rows) + "\n")
    settings = recipe.finetune
    assert settings is not None
    work = Finetuning(
        recipe, settings, tmp_path / "encoder", tmp_path / "out", read_labelled(settings, settings.train, {}), None
    )
    show = work.augmentation(np.arange(400), seed=0)
    texts = [f"the storm number {n * 37}" for n in range(400)]
    forms = [
        encode(tokenizer, [form.format(text) for text in texts], 32)
        for form in ("{} [LINK]", "Seoul | {}", "Seoul | {} [LINK]")
    ]
    found = [next(number for number in range(3) if np.array_equal(show(row, 1), forms[number][row])) for row in range(400)]
    shares = np.bincount(found) / 400
    assert np.allclose(shares, [0.3, 0.35, 0.35], atol=0.07)


def test_seeds_are_measured_and_the_temperature_is_in_the_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, seeds=2, refit=False)
    finetune(recipe, tmp_path / "encoder", tmp_path / "out")
    known = read_json(tmp_path / "out" / "predictions.json")
    assert np.array(known["seeds"]).shape == (2, 50, 2)
    assert known["seeds"][0] == known["probabilities"]
    assert known["seeds"][1] != known["probabilities"]
    assert len(known["robustness"]) == 6
    # The detector kept is the first fold's, its logits divided by the temperature.
    held = [row for row, fold in zip(known["rows"], known["fold"], strict=True) if fold == 0]
    raw = np.array(known["uncalibrated"])[np.isin(known["rows"], held)]
    model = load_classifier(tmp_path / "out" / "model")
    kept = probabilities(model, encode(tokenizer, [known["texts"][row] for row in held], 32))
    logits = np.log(kept[:, 1] / kept[:, 0]) * known["temperature"]
    np.testing.assert_allclose(logits, np.log(raw[:, 1] / raw[:, 0]), rtol=1e-3, atol=1e-4)


def test_what_a_search_does_not_look_at_is_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = make(tokenizer, tmp_path, folds=0, refit=False, examine=False)
    finetune(recipe, tmp_path / "encoder", tmp_path / "out")
    known = read_json(tmp_path / "out" / "predictions.json")
    assert (known["explained"], known["robustness"]) == ({}, [])
    assert len(known["probabilities"]) == len(known["rows"])


@pytest.mark.parametrize("refit", [True, False])
def test_tfidf_decides_beside_the_encoder_in_folds_and_in_what_is_kept(
    tokenizer: Tokenizer, tmp_path: Path, refit: bool
) -> None:
    recipe = make(tokenizer, tmp_path, tfidf=True, refit=refit, extra=[], learning_rate=0.01)
    finetune(recipe, tmp_path / "encoder", tmp_path / "out")
    known = read_json(tmp_path / "out" / "predictions.json")
    texts, labels, rows = known["texts"], np.array(known["labels"]), np.array(known["rows"])
    alone, measured = np.array(known["encoder"][0]), np.array(known["uncalibrated"])

    def odds(table: np.ndarray) -> np.ndarray:
        ratio: np.ndarray = np.log(table[:, 1] / table[:, 0])
        return ratio

    for number, split in enumerate(known["splits"]):
        held = [texts[row] for row in split["held"]]
        seen, agreed = distinct(texts, labels, fold_rows(recipe, tmp_path, number))
        other = tfidf_logistic([texts[row] for row in seen], agreed, held)
        mine = np.isin(rows, split["held"])
        np.testing.assert_allclose(odds(measured[mine]), (odds(alone[mine]) + odds(other)) / 2, atol=1e-4)

    kept = Detector.load(tmp_path / "out")
    assert kept.beside is not None
    encoder = probabilities(kept.model, encode(tokenizer, texts, 32))
    expected = odds(encoder) + odds(kept.beside.probabilities(texts))
    np.testing.assert_allclose(odds(kept.probabilities(texts)), expected, atol=1e-3)
    if not refit:  # the first fold's, both parts of it at the temperature
        mine = np.isin(rows, known["splits"][0]["held"])
        found = odds(kept.probabilities([texts[row] for row in rows[mine]]))
        np.testing.assert_allclose(found * known["temperature"], odds(measured[mine]), rtol=1e-2, atol=1e-3)


def fold_rows(recipe: Recipe, folder: Path, number: int) -> np.ndarray:
    """The rows a fold's classifiers are trained on."""
    settings = recipe.finetune
    assert settings is not None
    data = read_labelled(settings, settings.train, {})
    work = Finetuning(recipe, settings, folder / "encoder", folder / "out", data, None)
    return work.rows(work.splits()[number], number)[0]
