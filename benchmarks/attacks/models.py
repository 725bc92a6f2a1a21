"""Bundles and model folders of strangers, and what happens to one's own."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.attacks import attack, server

_POISON = "a" * 1000 + "b"


def _bundle(folder: Path, name: str) -> Path:
    from bongsu.models import packaged

    found = packaged("bongsu:beacon", "detector")
    assert found is not None
    return shutil.copytree(found, folder / name)


def _predict(bundle: Path) -> str:
    from bongsu.errors import BongsuError
    from bongsu.inference.onnx import BundlePredictor
    from bongsu.labelling.features import FEATURES, Stored

    try:
        predictor = BundlePredictor.load(bundle)
        predictor.predict(["a fire in the market"])
        Stored.load(bundle / FEATURES)
    except BongsuError as error:
        return str(error)
    return "answered"


def _refused(folder: Path, changes: dict[str, Callable[[Path], object]], sign: bool) -> str:
    """Change a bundle in several ways, each of which must be refused in a line; with `sign` the manifest is made anew."""
    from bongsu.inference.bundle import MANIFEST, write_manifest

    for name, change in changes.items():
        bundle = _bundle(folder, name)
        change(bundle)
        if sign:
            (bundle / MANIFEST).unlink()
            write_manifest(bundle, "onnx")
        answer = _predict(bundle)
        assert answer != "answered", name
        assert len(answer) < 500, (name, answer)
        shutil.rmtree(bundle)
    return f"{len(changes)} of {len(changes)} refused"


@attack("bundle: files added to it", "answered under the same version")
def _added(folder: Path) -> str:
    from bongsu.inference.bundle import open_bundle

    bundle = _bundle(folder, "a")
    version = open_bundle(bundle).version
    for name in ("model.onnx", "masked_lm.onnx", "correction.safetensors", "detector.int8.onnx", "preprocessing.json"):
        assert not (bundle / name).exists()
        (bundle / name).write_bytes(b"whatever somebody put here")
    assert (_predict(bundle), open_bundle(bundle).version) == ("answered", version)
    return "not opened"


@attack("bundle: one flipped byte in each file", "trained on and predicted with")
def _flipped(folder: Path) -> str:
    from bongsu.inference.bundle import open_bundle

    def flip(name: str) -> Callable[[Path], object]:
        def change(bundle: Path) -> None:
            content = bytearray((bundle / name).read_bytes())
            content[len(content) // 2] ^= 1
            (bundle / name).write_bytes(content)

        return change

    return _refused(folder, {name: flip(name) for name in sorted(open_bundle(_bundle(folder, "a")).files)}, sign=False)


@attack("model folder: one flipped byte", "trained on and predicted with")
def _folder(folder: Path) -> str:
    from bongsu.errors import BongsuError
    from bongsu.model.io import load_encoder
    from bongsu.models import packaged
    from bongsu.tokens.bpe import load_tokenizer

    found = packaged("bongsu:beacon", "encoder")
    assert found is not None
    copy, refused = shutil.copytree(found, folder / "a"), []
    for name, load in (("model.safetensors", load_encoder), ("tokenizer.json", load_tokenizer)):
        content = bytearray((copy / name).read_bytes())
        content[-4] ^= 1
        (copy / name).write_bytes(content)
        try:
            load(copy)
        except BongsuError as error:
            refused.append(str(error))
    assert len(refused) == 2, refused
    return "2 of 2 refused"


@attack("bundle: manifest that leads out, lies, is a bomb")
def _manifest(folder: Path) -> str:
    def listing(name: str) -> Callable[[Path], object]:
        def change(bundle: Path) -> None:
            manifest = json.loads((bundle / "manifest.json").read_text())
            manifest["sha256"][name] = "0" * 64
            (bundle / "manifest.json").write_text(json.dumps(manifest))

        return change

    names = ["../../etc/passwd", "/etc/passwd", "a\0b", "", ".", "a" * 5000, "model.onnx/../../x"]
    changes: dict[str, Callable[[Path], object]] = {str(number): listing(name) for number, name in enumerate(names)}
    for number, content in enumerate(("[" * 1_000_000, "{", "null", '{"format": 2, "sha256": {"bundle.json": 5}}', "\ud7ff")):
        changes[f"c{number}"] = lambda bundle, content=content: (bundle / "manifest.json").write_text(content)  # type: ignore[misc]
    return _refused(folder, changes, sign=False)


@attack("bundle: false headers, tokenizers and graphs, signed anew")
def _lies(folder: Path) -> str:
    def writing(name: str, content: bytes) -> Callable[[Path], object]:
        return lambda bundle: (bundle / name).write_bytes(content)

    tensor = {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}
    header = json.dumps(tensor).encode()
    deep = b'{"pre_tokenizer":' * 100_000
    changes = {
        "length": writing("features.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        "shape": writing("features.safetensors", struct.pack("<Q", len(header)) + header + b"\0" * 4),
        "empty": writing("features.safetensors", b""),
        "deep": writing("tokenizer.json", deep),
        "none": writing("tokenizer.json", b"{}"),
        "graph": writing("model.int8.onnx", b"\x08\x07" + b"\xff" * 100),
        "settings": writing("bundle.json", b"[" * 1_000_000),
        "kind": writing("bundle.json", b'{"task": {"kind": "exec"}}'),
        "list": writing("bundle.json", b"[]"),
    }
    return _refused(folder, changes, sign=True)


@attack("bundle: tokenizer that panics, behind a server", "server ended, ready said 200")
def _panic(folder: Path) -> str:
    from bongsu.inference.bundle import MANIFEST, write_manifest

    bundle = _bundle(folder, "a")
    content = json.loads((bundle / "tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}
    (bundle / "tokenizer.json").write_text(json.dumps(content))
    (bundle / MANIFEST).unlink()
    write_manifest(bundle, "onnx")
    with server(folder, bundle) as url, httpx.Client(base_url=url, timeout=60) as client:
        statuses = [client.post("/v1/classify", json={"text": _POISON}).status_code for _ in range(6)]
        mixed = client.post("/v1/classify", json={"text": ["fire", _POISON]}).json()["results"]
        ready = client.get("/health/ready").status_code
    assert (set(statuses), ["error" in one for one in mixed], ready) == ({422}, [False, True], 200), (statuses, mixed, ready)
    return "6 of 6 messages refused alone; others answered; ready"
