"""Bundles, which `bongsu export` writes: ONNX or safetensors, JSON, and a manifest with the SHA-256 of every file.

Nothing in a bundle is code or pickle. A file that is not as it was written is refused, and one that the manifest does not list
is never opened.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from bongsu.errors import WorkspaceError
from bongsu.files import file_hash, read_json, write_json
from bongsu.printable import printable

MANIFEST = "manifest.json"
CONFIG = "bundle.json"
MODEL = "model.onnx"
MODEL_INT8 = "model.int8.onnx"
MASKED_LM = "masked_lm.onnx"

_FORMAT = 2
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""Endings of weights that are not opened, since that may run code."""


class BundleConfig(TypedDict):
    """A bundle's `bundle.json`."""

    name: str
    """The recipe's."""
    model: dict[str, Any]
    """What `ModelDetails` is built from."""
    origin: str
    """See `origin`."""
    shortest: int
    """The fewest tokens a row has."""
    int8_accurate: bool
    int8_faster: NotRequired[bool]
    int8: dict[str, Any] | None
    """What the int8 engine costs in accuracy; None where there is no such engine, or no rows to measure it on."""


@dataclass(frozen=True)
class Bundle:
    """A folder whose listed files are as they were when it was written."""

    path: Path
    kind: str
    """"onnx" or "hf"."""
    version: str
    """12 digits of the manifest's SHA-256: another bundle, another version."""
    files: frozenset[str]
    """The names in the manifest. Whatever else lies in the folder is not part of the bundle."""

    def config(self) -> BundleConfig:
        """Return the description of the model."""
        return cast(BundleConfig, read_json(self.file(CONFIG)))

    def has(self, name: str) -> bool:
        """Return whether the manifest lists a file."""
        return name in self.files

    def file(self, name: str) -> Path:
        """Return the path of a file.

        Raises:
            WorkspaceError: when the manifest does not list it.
        """
        if name not in self.files:
            raise WorkspaceError(
                f"{self.path / name}: {MANIFEST} does not list this file, so it is not opened. Export the run again."
            )
        return self.path / name


def is_bundle(folder: Path) -> bool:
    """Return whether the folder has a manifest."""
    return (folder / MANIFEST).is_file()


def write_manifest(folder: Path, kind: str) -> None:
    """Write the manifest of everything in the folder; call it last."""
    files = {str(path.relative_to(folder)): file_hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / MANIFEST, {"format": _FORMAT, "kind": kind, "sha256": files})


def open_bundle(folder: Path) -> Bundle:
    """Return the bundle in a folder, every file of which has been compared with the manifest.

    Raises:
        WorkspaceError: when the folder is no bundle, or a file is missing or changed, or a pickle lies in it.
    """
    refuse_pickles(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise WorkspaceError(f"{folder}: {_how_to_make_one(folder)}")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
        raise WorkspaceError(f"{path}: damaged. Export the run again.")
    if manifest.get("format") != _FORMAT:
        raise WorkspaceError(f"{path}: format {manifest.get('format')!r}; this Bongsu reads {_FORMAT}. Export the run again.")
    expected = manifest["sha256"]
    for name, digest in expected.items():
        file, shown = folder / name, printable(name, 100)
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise WorkspaceError(f"{path}: names a file outside of the bundle ({shown}).")
        if not _is_file(file):
            raise WorkspaceError(f"{folder / shown}: no such file, though the manifest lists it. Copy the whole bundle again.")
        if file_hash(file) != digest:
            raise WorkspaceError(
                f"{file}: its content has changed since the bundle was written (SHA-256 differs). "
                "Copy the bundle again from where it was made, or export the run again."
            )
    return Bundle(folder, str(manifest.get("kind")), file_hash(path)[:12], frozenset(expected))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name longer than names can be, or with a null byte
        return False


def _how_to_make_one(folder: Path) -> str:
    """Return what is in a folder that is no bundle, and the command that makes one: never into a folder that is in use."""
    if (folder / "recipe.toml").is_file():
        return f"a run's folder, not a bundle. `bongsu export {folder}` makes one in {folder / 'export' / 'onnx'}."
    advice = f" --out {folder}" if not folder.exists() else ""
    return f"{_what_is_here(folder)}. Name a run or a bundle; `bongsu export RUN{advice}` makes a bundle."


def _what_is_here(path: Path) -> str:
    """Return why no model can be opened here."""
    if _is_file(path):
        return "a file, and no folder with a model"
    if not path.exists():
        return "no such folder"
    return f"neither a run's folder (recipe.toml) nor a bundle ({MANIFEST})"


def model_folder(folder: Path) -> Path:
    """Return where the fine-tuned model of a run's folder, of its `finetune` folder or of a model folder is.

    Raises:
        WorkspaceError: when there is none.
    """
    for candidate in (folder / "finetune" / "model", folder / "model", folder):
        if _is_file(candidate / "config.json"):
            return candidate
    if (folder / "recipe.toml").is_file():
        hint = f"this run has no fine-tuned model yet; `bongsu run {folder / 'recipe.toml'} --out {folder}` goes on with it."
    else:
        hint = f"{_what_is_here(folder)}. Name the folder of a run or of a bundle."
    raise WorkspaceError(f"{folder}: {hint}")


def origin(model_folder: Path) -> str:
    """Return the hash of a model folder's files, which tells whether a bundle was made from the model as it is now."""
    files = sorted(
        path for path in model_folder.iterdir() if path.is_file() and path.name not in ("stage.json", "started.json")
    )
    return hashlib.sha256("".join(f"{path.name} {file_hash(path)}\n" for path in files).encode()).hexdigest()


def refuse_to_replace(out: Path) -> None:
    """Check that an export replaces nothing but an export: somebody may have named the run's own folder by mistake.

    Raises:
        WorkspaceError: when `out` exists, is not empty, and is not a bundle.
    """
    if out.exists() and not is_bundle(out) and (out.is_file() or any(out.iterdir())):
        raise WorkspaceError(f"{out}: holds something other than an export. Name a new folder with --out, such as {out}/onnx.")


def refuse_pickles(path: Path) -> None:
    """Check that there is no pickle here, for opening one runs code of whoever made it.

    Raises:
        WorkspaceError: when `path` is a pickle, or a folder that holds one.
    """
    found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    for file in found:
        if file.suffix in PICKLES:
            raise WorkspaceError(
                f"{file}: weights in pickle form are not opened, since that may run code of whoever made them. "
                "Ask for safetensors or ONNX, or convert the file with safetensors where it was made, and take it away."
            )
