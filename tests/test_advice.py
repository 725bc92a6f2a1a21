"""Errors give advice that can be followed: the setting, option or command that they name exists and helps."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import torch
import typer

from bongsu.corpus.readers import ReadStats, read
from bongsu.errors import BongsuError, DataError, MissingColumnError, RecipeError, WorkspaceError
from bongsu.export.quantization import Int8Loss
from bongsu.finetuning.data import check_columns
from bongsu.inference.bundle import open_bundle, refuse_to_replace
from bongsu.pipeline.checking import check_files
from bongsu.pipeline.running import run
from bongsu.recipe import Recipe, Source, dump_recipe, load_recipe, parse_recipe, put
from bongsu.serving.server import listen
from bongsu.training.devices import resolve_device

ROOT = Path(__file__).parent.parent


def recipe_of(task: dict[str, object], **sections: object) -> Recipe:
    return parse_recipe({"task": task, "finetune": {"encoder": "runs/none"}, **sections})


# A file is named once


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_a_recipe_names_each_file_once(path: Path) -> None:
    text = "\n".join(line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    recipe = load_recipe(path)
    files = [recipe.task.train if recipe.task else "", recipe.predict.input if recipe.predict else ""]
    for file in filter(None, files):
        assert text.count(f"= {file!r}".replace("'", '"')) == 1 or file.startswith("bongsu:")


def test_one_change_names_another_file() -> None:
    recipe = load_recipe(ROOT / "recipes" / "tweets.toml", ["task.train=mine.csv", "task.text=tweet"])
    assert recipe.corpus is not None
    assert recipe.task is not None
    assert [(source.path, source.text) for source in recipe.corpus.sources] == [("mine.csv", "tweet")]
    assert recipe.task.train == "mine.csv"


def test_a_named_source_takes_column_and_rows_unless_it_says_otherwise() -> None:
    task = {"train": "a.csv", "test": "b.csv", "text": "tweet", "where": {"split": "train"}, "test_where": {"split": "test"}}
    sources = [{"path": "task:train"}, {"path": "task:train", "where": {}, "text": "other"}, {"path": "predict:input"}]
    tree = {"task": task, "finetune": {"encoder": "x"}, "corpus": {"sources": sources}, "predict": {"input": "c.csv"}}
    put(tree, "corpus.validation_sources", [{"path": "task:test"}], "")
    recipe = parse_recipe(tree)
    assert recipe.corpus is not None
    found = [(source.path, source.text, source.where) for source in recipe.corpus.sources]
    assert found == [("a.csv", "tweet", {"split": "train"}), ("a.csv", "other", {}), ("c.csv", "tweet", {})]
    [held] = recipe.corpus.validation_sources
    assert (held.path, held.text, held.where) == ("b.csv", "tweet", {"split": "test"})
    assert sources[0] == {"path": "task:train"}
    assert "task:train" not in dump_recipe(recipe)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "corpus.sources.0.path: 'task:train' stands for the file of task.train, which is not given"),
        ({"task": {"kind": "pair", "train": "x"}}, "is for kinds of task with one text a row, not pair"),
    ],
)
def test_a_source_that_names_nothing_is_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"corpus": {"sources": [{"path": "task:train"}]}, **tree})


# Missing files and columns


def test_all_missing_files_are_named_at_once_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("text,target\na,1\n", encoding="utf-8")
    recipe = recipe_of(
        {"train": "a.csv", "test": "b.csv", "corrections": "there.csv"},
        corpus={"sources": [{"path": "task:train"}, {"path": "more/*.txt"}, {"path": "https://host/x.txt"}]},
        predict={"input": "there.csv"},
    )
    with pytest.raises(DataError) as caught:
        run(recipe)
    message = str(caught.value)
    for part in (
        f"relative to {tmp_path}",
        "a.csv (task.train, corpus.sources.0.path)",
        "b.csv (task.test)",
        "runs/none (finetune.encoder)",
        "more/*.txt (corpus.sources.1.path)",
        "--set task.train=FILE",
    ):
        assert part in message
    assert "there.csv" not in message
    assert "https" not in message
    assert not (tmp_path / "runs").exists()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.txt").touch()
    (tmp_path / "runs" / "none").mkdir(parents=True)
    check_files(recipe)


def test_an_encoder_that_ships_is_no_missing_file() -> None:
    tree = {"task": {"train": "bongsu:demo.csv"}, "finetune": {"encoder": "bongsu:beacon"}}
    check_files(parse_recipe(tree))
    with pytest.raises(BongsuError, match=r"bongsu:demo\.csv \(finetune\.encoder\)"):
        check_files(parse_recipe({**tree, "finetune": {"encoder": "bongsu:demo.csv"}}))


def test_an_encoder_to_go_on_with_must_be_there(tmp_path: Path) -> None:
    tree = {"corpus": {"sources": [{"path": "bongsu:demo.csv"}]}, "pretrain": {"start": str(tmp_path / "none")}}
    with pytest.raises(BongsuError, match=r"none \(pretrain\.start\)"):
        check_files(parse_recipe(tree))
    check_files(parse_recipe({**tree, "pretrain": {"start": "bongsu:beacon"}}))


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({}, "there is no column 'text'; the columns are id, tweet, class. Change it with --set task.text=COLUMN."),
        ({"text": "tweet"}, "no column 'target'.* Change it with --set task.label=COLUMN."),
        ({"text": "tweet", "label": "class", "context": ["id", "place"]}, r"Change it with --set 'task.context=\[\"id\"\]'."),
        ({"text": "tweet", "label": "class", "where": {"lang": "en"}}, "Change it with --set task.where.COLUMN=VALUE"),
    ],
)
def test_a_missing_column_names_its_key(tmp_path: Path, settings: dict[str, object], advice: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,tweet,class\n1,a b,x\n2,c d,y\n", encoding="utf-8")
    with pytest.raises(MissingColumnError, match=advice):
        check_columns(recipe_of({"train": str(path), **settings}))


def test_a_missing_column_of_a_source_names_its_key(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,tweet\n1,a b\n", encoding="utf-8")
    with pytest.raises(MissingColumnError, match="Name the text column with the key `text` of the source"):
        list(read(Source(path=str(path)), ReadStats()))


# Devices, values, ports, bundles, figures


def test_only_devices_that_are_there_are_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"here it may be auto or cpu\.$"):
        resolve_device("nothing")


@pytest.mark.parametrize(
    ("section", "key", "value", "meant"),
    [
        ("model", "activation", "silu", "swish"),
        ("model", "activation", "gleu", "gelu"),
        ("pretrain", "optimizer", "Adam", "adamw"),
        ("pretrain", "precision", "bf16", "bfloat16"),
        ("task", "kind", "ner", "tagging"),
    ],
)
def test_another_name_of_a_value_is_understood(section: str, key: str, value: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=rf"did you mean '{meant}'\?"):
        parse_recipe({section: {key: value}})


def test_a_taken_port_names_the_options_there_are() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorkspaceError, match=r"Choose another --host or --port\."):
            listen("127.0.0.1", port)
        with pytest.raises(WorkspaceError, match=r"Choose another --host or --page\."):
            listen("127.0.0.1", port, "--host or --page")


def test_advice_about_a_bundle_can_be_followed(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=rf"`bongsu export RUN --out {tmp_path}/new`"):
        open_bundle(tmp_path / "new")
    refuse_to_replace(tmp_path / "new")
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(WorkspaceError, match=rf"a run's folder.*`bongsu export {tmp_path}` makes one in {tmp_path}/ex"):
        open_bundle(tmp_path)
    with pytest.raises(WorkspaceError, match=rf"--out, such as {tmp_path}/onnx"):
        refuse_to_replace(tmp_path)


@pytest.mark.parametrize(
    ("int8", "words"), [(0.7968, "0.32 points lost"), (0.8032, "0.32 points gained"), (0.8, "nothing lost")]
)
def test_a_gain_is_called_one(int8: float, words: str) -> None:
    assert Int8Loss(100, "test rows", "Accuracy", 0.8, int8, 1).change == words


def test_several_lines_of_an_error_stay_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import bongsu.cli as cli

    def fail() -> None:
        raise BongsuError("one\ntwo\x1b[2J")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "error: one\ntwo\\x1b[2J\n"


def test_options_that_messages_name_exist() -> None:
    from bongsu.cli import app

    group = typer.main.get_command(app)
    parameters = [each for verb in group.commands.values() for each in verb.params]  # type: ignore[attr-defined]
    known = {option for each in parameters for option in [*each.opts, *each.secondary_opts]}
    known |= {"--help", "--version", "--install-completion"}
    unknown: set[str] = set()
    others = {"--long", "--ultra", "--logdir", "--blue", "--sans"}  # of other programs, and of style sheets
    for path in (ROOT / "bongsu").rglob("*.py"):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", path.read_text(encoding="utf-8")))
        unknown |= {f"{path.name}: {option}" for option in named - known - others}
    assert not unknown
