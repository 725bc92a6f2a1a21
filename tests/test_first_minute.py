"""The first minute: help, a recipe for one's own file, the demonstration, and what runs say of themselves."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from command_line import call
from typer.testing import CliRunner

from bongsu import load
from bongsu.cli import app
from bongsu.cli.common import ready_bundle
from bongsu.cli.contents import PANELS
from bongsu.cli.drafting import draft, look
from bongsu.cli.starting import MESSAGES
from bongsu.errors import BongsuError, DataError
from bongsu.files import record_hashes
from bongsu.inference.bundle import open_bundle
from bongsu.model.io import read_encoder_config
from bongsu.models import packaged
from bongsu.pipeline.comparing import difference, load_compared
from bongsu.recipe import load_recipe

ROOT = Path(__file__).parent.parent
TINY = {
    "tokenizer.vocab_size": "300",
    "model.d_model": "16",
    "model.n_layers": "1",
    "model.n_heads": "2",
    "pretrain.start": "none",
    "pretrain.epochs": "none",
    "pretrain.steps": "2",
    "pretrain.evaluations": "1",
    "finetune.epochs": "1",
    "validation.folds": "2",
}
CHANGES = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


def write_messages(path: Path, rows: int = 80) -> Path:
    lines = ["id;tweet;class"]
    for number in range(rows):
        what = "help needed, the river is over the road" if number % 2 else "what a lovely evening at the river"
        lines.append(f'{number};"message {number} from street {number * 7 % 31}: {what}";{number % 2}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of a recipe that `init` wrote, the second with the encoder of the first and more to learn."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_messages(folder / "mine.csv")
        assert call(patch, "init", "mine.csv", "--name-of", "1=help") == 0
        assert call(patch, "run", "mine.toml", *CHANGES) == 0
        second = ["--set", "finetune.encoder=runs/mine", "--set", "finetune.learning_rate=0.003", "--out", "runs/second"]
        assert call(patch, "run", "mine.toml", *CHANGES, *second) == 0
    return folder / "runs" / "mine", folder / "runs" / "second"


# Help


def test_every_verb_is_in_a_panel_with_examples_that_parse() -> None:
    group = typer.main.get_command(app)
    placed = {verb: examples for verbs in PANELS.values() for verb, examples in verbs.items()}
    assert set(placed) == set(group.commands)  # type: ignore[attr-defined]
    for verb, examples in placed.items():
        assert len(set(examples)) == 2
        for example in examples:
            words = shlex.split(re.split("[<|]", example)[0])
            assert words[:2] == ["bongsu", verb]
            group.commands[verb].make_context(verb, words[2:])  # type: ignore[attr-defined]


def test_help_shows_panels_examples_and_completion() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    places = [shown.index(panel) for panel in PANELS]
    assert places == sorted(places)
    assert "--install-completion" in shown
    assert "bongsu compare runs/first runs/second" in runner.invoke(app, ["compare", "--help"], env={"COLUMNS": "120"}).output


PAGES = [page for pages in ("*.md", "docs/**/*.md", "recipes/*.toml") for page in ROOT.glob(pages) if page.name != "log.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_documents_parse(page: Path) -> None:
    group = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^(?:#   |    )?(bongsu [a-z]+ .*)$", text, re.MULTILINE):
        words = shlex.split(re.split(r"\s[<|>&#]", line)[0])
        if not any(word.startswith("[") for word in words):
            group.commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]


# init


def test_a_recipe_names_what_was_found(tmp_path: Path) -> None:
    seen = look(str(write_messages(tmp_path / "mine.csv")))
    assert (seen.text, seen.label, seen.id, seen.labels) == ("tweet", "class", "id", {"0": 40, "1": 40})
    path = tmp_path / "mine.toml"
    path.write_text(draft(seen, "mine", ["latin"], ["more.txt"], "test.csv", {"1": 'so "called"'}), encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.task is not None
    assert recipe.corpus is not None
    assert recipe.corpus.cleaning.scripts == ["latin"]
    assert [(source.path, source.text) for source in recipe.corpus.sources] == [(seen.path, "tweet"), ("more.txt", "text")]
    assert (recipe.task.test, recipe.task.text, recipe.task.label) == ("test.csv", "tweet", "class")  # type: ignore[union-attr]
    assert recipe.task.names == {"1": 'so "called"'}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "text", "label", "kind"),
    [
        ("text,keyword,target\na b c,fire,1\nd e f,flood,0\ng h i,fire,1\n", "text", "target", "classification"),
        ("nr,본문,분류\n1,비가 많이 온다,재난\n2,점심은 국수,일상\n3,강이 넘친다,재난\n", "본문", "분류", "classification"),
        ("what,how\nlong words of a text,x\nother words here,y\nand more of them,x\nyet another,y\nlast,x\nno,y\n",
         "what", "how", "classification"),
        ("text\nonly text\nand no label\n", "text", None, "classification"),
        ("text,score\n" + "".join(f"text {number},{number / 7}\n" for number in range(99)), "text", "score", "regression"),
    ],
)  # fmt: skip
def test_columns_are_found_by_looking(tmp_path: Path, content: str, text: str, label: str | None, kind: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(content, encoding="utf-8")
    seen = look(str(path))
    assert (seen.text, seen.label, seen.kind) == (text, label, kind)
    recipe = tmp_path / "in.toml"
    recipe.write_text(draft(seen, "in"), encoding="utf-8")
    loaded = load_recipe(recipe)
    assert (loaded.task.kind if loaded.task else None) == (kind if label else None)


def test_an_audit_finds_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"산불이 마을 {number}번지까지 내려왔어요,1\n오늘 경기 {number}회에 불을 뿜었다,0" for number in range(12)]
    Path("mine.csv").write_text(
        "메시지,구분\n" + "\n".join([*rows, "산불이 마을 3번지까지 내려왔어요,0"]) + "\n", encoding="utf-8"
    )
    assert call(monkeypatch, "audit", "mine.csv") == 0
    said = capsys.readouterr()
    assert "text in '메시지', label in '구분'" in said.out + said.err
    assert "산불이 마을 3번지까지 내려왔어요" in Path("audit.csv").read_text(encoding="utf-8")
    Path("unlabelled.csv").write_text("메시지\n산불이 났다\n비가 온다\n", encoding="utf-8")
    assert call(monkeypatch, "audit", "unlabelled.csv") == 1
    assert "no column looks like labels" in capsys.readouterr().err


def test_init_asks_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_messages(tmp_path / "mine.csv")
    answers = "mine.csv\ntweet\nnone\nlatin\n"
    assert CliRunner().invoke(app, ["init", "--ask", "--out", "asked.toml"], input=answers).exit_code == 0
    recipe = load_recipe(tmp_path / "asked.toml")
    assert recipe.task is None
    assert recipe.corpus is not None
    assert recipe.corpus.cleaning.scripts == ["latin"]
    assert recipe.corpus.sources[0].text == "tweet"


def test_init_writes_over_nothing_and_names_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_messages(tmp_path / "mine.csv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("mine", encoding="utf-8")
    result = CliRunner().invoke(app, ["init", str(path)])
    assert isinstance(result.exception, BongsuError)
    assert "--force" in str(result.exception)
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8") == "mine"
    with pytest.raises(DataError, match=r"no column 'body'; the columns are id, tweet, class\. Name one of them with --text"):
        look(str(path), text="body")


# Runs


@pytest.mark.slow
def test_what_init_wrote_runs(runs: tuple[Path, Path]) -> None:
    answers = load(runs[0]).predict(["help needed, the river is over the road"])
    assert set(answers[0].probabilities) == {"0", "help"}
    assert (runs[0] / "evaluation" / "report.html").is_file()


@pytest.mark.slow
def test_info_of_a_run_and_of_a_bundle(
    runs: tuple[Path, Path], bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "info", str(runs[0])) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("task classification", "1 layers of 16", "reads tweet", "answers 0, help", "finetune/folds", "accuracy"):
        assert part in shown
    assert call(monkeypatch, "info", str(bundle)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (open_bundle(bundle).version, "reads text, keyword", "answers other, disaster", "model.onnx", "threshold 0.4"):
        assert part in shown
    assert call(monkeypatch, "info", str(runs[0].parent)) == 1
    assert "neither a run's folder" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_shows_figures_and_the_paired_interval(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "compare", *map(str, runs)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "95 % interval" in shown
    assert "on the same 80 rows" in shown
    assert "finetune.learning_rate 0.001 0.003" in shown
    first, second = map(load_compared, runs)
    found, back = difference(first, second, "rows held out"), difference(second, first, "rows held out")
    assert found is not None
    assert back is not None
    assert found.found.difference == pytest.approx(
        second.parts["rows held out"].metrics["accuracy"] - first.parts["rows held out"].metrics["accuracy"]
    )
    assert found.found.difference == pytest.approx(-back.found.difference)
    assert found.found.interval[0] <= found.found.difference <= found.found.interval[1]
    same = difference(first, first, "rows held out")
    assert same is not None
    assert (same.found.difference, same.better) == (0.0, None)


@pytest.mark.slow
def test_runs_that_share_no_rows_have_no_interval(runs: tuple[Path, Path], made_run: Path) -> None:
    first = load_compared(runs[0])
    other = load_compared(runs[1])
    part = other.parts["rows held out"]
    moved = [((f"{texts[0]} elsewhere",), label, number) for texts, label, number in part.keys]
    part.keys[:] = moved
    assert difference(first, other, "rows held out") is None
    with pytest.raises(BongsuError, match="nothing has been measured"):
        load_compared(made_run)


@pytest.mark.usefixtures("known_graphs")
def test_a_run_is_exported_when_its_model_is_new(made_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made_run, run)
    bundle = ready_bundle(run)
    assert bundle == run / "export" / "onnx"
    version = open_bundle(bundle).version
    date = (bundle / "manifest.json").stat().st_mtime_ns
    assert ready_bundle(run) == bundle
    assert (bundle / "manifest.json").stat().st_mtime_ns == date
    config = run / "finetune" / "model" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("1.25", "1.5"), encoding="utf-8")
    record_hashes(config.parent, config.name)
    assert open_bundle(ready_bundle(run)).version != version
    assert ready_bundle(bundle) == bundle
    shutil.rmtree(run / "finetune")
    with pytest.raises(BongsuError, match="no fine-tuned model yet"):
        ready_bundle(run)


@pytest.mark.slow
def test_the_demonstration_goes_all_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [
        "--set",
        'corpus.sources=[{path = "task:train"}]',
        "--set",
        'task.where={split = "test"}',
        "--set",
        "validation.folds=0",
        "--set",
        "validation.diagnose=false",
        "--set",
        "finetune.patience=1",
    ]
    tiny = [word for key, value in TINY.items() if key != "validation.folds" for word in ("--set", f"{key}={value}")]
    assert call(monkeypatch, "demo", "--out", str(tmp_path / "demo"), *tiny, *small) == 0
    shown = capsys.readouterr().out
    assert "규모 5.1" in shown
    assert shown.count("→") == len(MESSAGES)
    assert f"bongsu serve {tmp_path}/demo" in " ".join(shown.split())


def test_a_drafted_recipe_fits_the_encoder_it_starts_from(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("text,label\n" + "".join(f"{'word ' * 900}{n},{n % 2}\n" for n in range(30)), encoding="utf-8")
    (tmp_path / "long.toml").write_text(draft(look(str(path)), "long"), encoding="utf-8")
    recipe = load_recipe(tmp_path / "long.toml")
    assert recipe.task is not None
    assert recipe.pretrain is not None
    assert recipe.pretrain.start == "bongsu:beacon"
    folder = packaged("bongsu:beacon", "encoder")
    assert folder is not None
    longest = read_encoder_config(folder).max_length
    assert max(recipe.task.max_length, recipe.pretrain.row_length) <= longest
