"""Made text in English and Korean, a small tokenizer, a small run, and a Ray cluster, for every room's tests."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

# Before anything imports torch: two threads that share a small matrix wait for each other, long on a busy machine.
os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import hypothesis
import pytest
from tokenizers import Tokenizer

from bongsu import recipe
from bongsu.tokens.bpe import load_tokenizer, save_tokenizer, train_tokenizer

VOCAB_SIZE = 600
ANY_SPEED: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("bongsu", max_examples=60, **ANY_SPEED)
hypothesis.settings.register_profile("thorough", max_examples=2000, **ANY_SPEED)
hypothesis.settings.load_profile("bongsu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with Ray first, so that one worker of pytest-xdist has them all, and with them the only cluster."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def make_sentences(count: int, seed: int) -> list[str]:
    """Sentences of 2 to 30 made words, a few words far more frequent than the rest, one in four sentences Korean."""
    draw = random.Random(seed)
    shape = random.Random(0)  # the same words whatever the seed
    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    english = ["".join(shape.choices(syllables, k=shape.randint(1, 4))) for _ in range(400)]
    korean = ["".join(chr(shape.randrange(0xAC00, 0xD7A3, 97)) for _ in range(shape.randint(1, 3))) for _ in range(200)]
    extras = ["[LINK]", "[USER]", "#fire", "🔥", "2024", "don't"]

    def word(words: list[str]) -> str:
        return draw.choice(extras) if draw.random() < 0.05 else words[int(len(words) * draw.random() ** 3)]

    return [
        " ".join(word(korean if index % 4 == 3 else english) for _ in range(min(30, 2 + int(draw.expovariate(0.12)))))
        for index in range(count)
    ]


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No power is cut during a test, and what a killed process wrote stays in the system's memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return make_sentences(600, seed=0)


@pytest.fixture(scope="session")
def tokenizer_folder(sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    settings = recipe.Tokenizer(vocab_size=VOCAB_SIZE, lowercase=True)
    save_tokenizer(train_tokenizer(settings, sentences), folder, max_length=128)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture(scope="session")
def processes() -> Any:
    """Fresh processes of their own, quick to start: all that takes long to import is there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "bongsu.pipeline.running", "datasketch", "sklearn.linear_model"])
    return context


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Join a Ray cluster of this machine that can import what the tests define; its address."""
    # How long Ray Serve waits for its proxy, and Ray for a worker, to start: on a busy machine a proxy needs more than 5 s.
    os.environ.update(RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S="300", RAY_worker_register_timeout_seconds="300")
    from bongsu.cluster import LOCAL, SMALL, connected
    from bongsu.errors import BongsuError

    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    with ExitStack() as stack:
        for attempt in range(5):  # Ray gives a node up that has not started within 30 s
            try:
                stack.enter_context(connected(LOCAL, num_cpus=2, resources={"place": 1}, runtime_env=environment, **SMALL))
                break
            except BongsuError:
                if attempt == 4:
                    raise
        import ray

        yield ray.get_runtime_context().gcs_address


@pytest.fixture(scope="session")
def made_run(tokenizer_folder: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run."""
    from made_run import make_run

    return make_run(tmp_path_factory.mktemp("made") / "run", tokenizer_folder, sentences[:200])


@pytest.fixture(scope="session")
def bundle(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its ONNX bundle, with an int8 engine."""
    from bongsu.export.bundle import export_onnx

    folder = tmp_path_factory.mktemp("made") / "bundle"
    export_onnx(made_run, folder, int8=True, licence="cc-by-4.0")
    return folder


@pytest.fixture
def known_graphs(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of `made_run` take the graphs of its bundle, which are the same and take torch seconds; they are compared all the
    same."""
    for export, name in (("export_task_model", "model.onnx"), ("export_masked_lm", "masked_lm.onnx")):
        copy = partial(_copy_graph, bundle / name)
        monkeypatch.setattr(f"bongsu.export.bundle.{export}", copy)


def _copy_graph(source: Path, model: object, path: Path) -> None:
    shutil.copyfile(source, path)


@pytest.fixture(scope="session")
def with_features(bundle: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with features of 200 rows, to learn from labels with."""
    from made_run import add_features

    return add_features(bundle, tmp_path_factory.mktemp("features") / "bundle", sentences[:200])
