"""The verbs of the first minute: the demonstration, and a recipe for somebody's own file."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bongsu import progress
from bongsu.cli.common import Out, Set, app, need
from bongsu.cli.predicting import show_answers
from bongsu.errors import BongsuError
from bongsu.files import redacted, write_text

if TYPE_CHECKING:
    from bongsu.cli.drafting import Look

MESSAGES = (
    "Wildfire jumped the highway near Silver Creek, all homes on Mill Road being evacuated now",
    "this new album is straight fire, burned through it twice already",
    "Bridge collapsed after the flood, two cars in the river, rescue teams on site",
    "my inbox exploded while I was at lunch, total disaster",
    "규모 5.1 지진으로 건물 외벽이 무너져 주민들이 대피했습니다",
    "오늘 신상 세일 폭탄 터졌다 지갑 붕괴",
)


@app.command()
def demo(out: Out = None, changes: Set = None) -> None:
    """Go all the way on bundled text: corpus, tokenizer, encoder, detector, report, and six messages (minutes on two cores)."""
    need("torch", "train")
    from importlib import resources

    from bongsu import load
    from bongsu.cli.running import run_to

    with resources.as_file(resources.files("bongsu") / "data" / "demo.toml") as recipe:
        finished = run_to(recipe, changes, out)
    detector = load(finished.path)
    print()
    show_answers(detector.task, [[text] for text in MESSAGES], detector.predict(list(MESSAGES)))
    print(
        f'\nreport: {finished.report}\nbongsu predict {finished.path} "a message of yours"\n'
        f"bongsu serve {finished.path}    # a page to try it\nbongsu init FILE    # the same with your own data"
    )


@app.command()
def init(
    file: Annotated[str | None, typer.Argument(help="Your labelled file: CSV, TSV, JSON Lines or Parquet")] = None,
    text: Annotated[str | None, typer.Option("--text", help="The text column (default: found by looking)")] = None,
    label: Annotated[str | None, typer.Option("--label", help="The label column (default: found by looking)")] = None,
    script: Annotated[
        list[str] | None,
        typer.Option("--script", help="hangul or latin, or both in turn: leave texts in other scripts out"),
    ] = None,
    unlabelled: Annotated[list[Path] | None, typer.Option("--unlabelled", help="More text to learn the language from")] = None,
    test: Annotated[Path | None, typer.Option("--test", help="A labelled file to measure on, once")] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name-of", help="What to call a label: 1=disaster", metavar="LABEL=NAME")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The recipe (default: the file's name with .toml)")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe that is there")] = False,
    ask: Annotated[bool | None, typer.Option("--ask/--no-ask", help="Ask what is open (default: on a terminal)")] = None,
) -> None:
    """Write a recipe for your own file, with comments; columns are found by looking, or asked for."""
    from bongsu.cli.drafting import draft, look
    from bongsu.corpus.streams import resolve
    from bongsu.recipe import load_recipe

    if unknown := sorted(set(script or []) - {"hangul", "latin"}):
        raise BongsuError(f"--script {unknown[0]}: it is hangul or latin; without it texts in all scripts are kept.")
    asking = (sys.stdin.isatty() and sys.stdout.isatty()) if ask is None else ask
    if file is None:
        if not asking:
            raise BongsuError("Name your labelled file: bongsu init FILE")
        file = typer.prompt("Your labelled file (CSV, TSV, JSON Lines, Parquet)")
    for path in [*(unlabelled or []), *([test] if test else [])]:
        resolve(str(path))
    shown, seen = redacted(file), look(file, text, label)
    if asking:
        seen = _asked(seen, text, label)
        if script is None:
            answer = typer.prompt("Scripts to keep: all, hangul, latin or hangul,latin", default="all")
            script = re.findall("hangul|latin", answer)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", out.stem if out else Path(shown).name.split(".")[0]).strip("-._") or "mine"
    out = out or Path(f"{name}.toml")
    if out.exists() and not force:
        raise BongsuError(f"{out}: is there already. Name another with --out, or write over it with --force.")
    called = dict(_name_of(each, seen) for each in names or [])
    more = [str(path) for path in unlabelled or []]
    write_text(out, draft(seen, name, script or [], more, str(test) if test else None, called))
    try:
        load_recipe(out)
    except BongsuError:
        with suppress(OSError):
            out.unlink()
        raise
    rows = progress.count(seen.rows, "row") if seen.complete else f"more than {seen.rows:,} rows"
    if seen.label is None:
        progress.note(f"{shown}: {rows}; text in {seen.text!r}; no column looks like a label (--label), so only pre-training")
    else:
        labels = progress.count(len(seen.labels), "label") if seen.labels else "numbers"
        progress.note(progress.escape(f"{shown}: {rows}; text in {seen.text!r}, label in {seen.label!r} ({labels})"))
    progress.note(f"{out}: a recipe to read and change. Next: bongsu plan {out}, then bongsu run {out}")


def _asked(seen: Look, text: str | None, label: str | None) -> Look:
    """Ask about the columns that no flag named, with what was found as the answer to accept."""
    from bongsu.cli.drafting import look

    progress.note(progress.escape(f"{redacted(seen.path)}: columns {', '.join(seen.columns)}"))
    text = text or typer.prompt("Text column", default=seen.text)
    if label is None:
        label = typer.prompt('Label column ("none" for text alone)', default=seen.label or "none")
    if label == "none" and "none" not in seen.columns:
        return replace(seen, text=text, label=None)
    return seen if (text, label) == (seen.text, seen.label) else look(seen.path, text, label)


def _name_of(given: str, seen: Look) -> tuple[str, str]:
    label, equals, name = given.partition("=")
    if not equals or label not in seen.labels:
        known = ", ".join(list(seen.labels)[:20]) or "none"
        raise BongsuError(f"--name-of {given}: write it as LABEL=NAME; the labels are {known}.")
    return label, name
