"""A bundle whose tokenizer panics at some texts, behind a real server: such a message fails alone, and nothing ends."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_service import FakePredictor, fake_service, running
from panicking import POISON, make_tokenizer_panic, panic

from bongsu.errors import BongsuError
from bongsu.inference.bundle import MANIFEST, write_manifest
from bongsu.inference.onnx import BundlePredictor
from bongsu.serving.batching import Batcher
from bongsu.serving.limits import Limits
from bongsu.serving.service import Service


@pytest.fixture
def hostile(bundle: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(bundle, tmp_path / "hostile")
    make_tokenizer_panic(folder)
    (folder / MANIFEST).unlink()
    write_manifest(folder, "onnx")
    return folder


@pytest.fixture
def client(hostile: Path) -> Iterator[httpx.Client]:
    service = Service(lambda: BundlePredictor.load(hostile, sessions=2), Limits(sessions=2, seconds=20))
    with running(service) as url, httpx.Client(base_url=url, timeout=600) as client:
        yield client


def test_a_message_that_makes_a_library_panic_fails_alone(client: httpx.Client) -> None:
    for _ in range(5):  # more often than there are workers
        alone = client.post("/v1/classify", json={"text": POISON})
        assert alone.status_code == 422
        assert "tokenizer cannot read this text" in alone.json()["error"]
    texts = ["forest fire", POISON, "지진", POISON]
    results = client.post("/v1/classify", json={"text": texts}).json()["results"]
    assert ["error" in result for result in results] == [False, True, False, True]
    single = client.post("/v1/classify", json={"text": "forest fire"}).json()["results"][0]
    assert results[0]["probability"] == pytest.approx(single["probability"], abs=1e-5)
    answers = client.post("/v1/predict", json={"inputs": texts}).json()["results"]
    assert ["error" in result for result in answers] == [False, True, False, True]
    vectors = client.post("/v1/embed", json={"text": texts}).json()["vectors"]
    assert [isinstance(vector, dict) for vector in vectors] == [False, True, False, True]
    assert client.get("/health/ready").status_code == 200


def test_a_bundle_that_panics_at_the_trial_texts_is_refused(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bongsu.serving.model_holder._TRIAL", [POISON])
    with pytest.raises(BongsuError, match="tokenizer cannot read"):
        Service(lambda: BundlePredictor.load(hostile), Limits())


class Breaking(FakePredictor):
    """Panics from a moment on at every text, as a library does whose lock was left in the middle of a panic."""

    broken = False

    def predict(self, texts: Any, context: Any = None) -> Any:
        return panic() if self.broken else super().predict(texts, context)


def test_ready_says_when_the_model_no_longer_answers_and_when_it_does_again() -> None:
    predictor = Breaking()
    with running(fake_service(lambda: predictor)) as url, httpx.Client(base_url=url) as client:
        predictor.broken = True
        assert client.get("/health/ready").status_code == 200  # nobody can know yet
        assert client.post("/v1/classify", json={"text": ["a", "b"]}).status_code == 422
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "failing"})
        assert client.get("/health/live").status_code == 200
        predictor.broken = False
        assert client.get("/health/ready").status_code == 200


def test_ready_says_when_every_worker_is_stuck() -> None:
    gate = threading.Event()
    gate.set()
    predictor = FakePredictor(gate=gate)
    service = fake_service(lambda: predictor, Limits(sessions=1, seconds=0.2))
    with running(service) as url, httpx.Client(base_url=url, timeout=600) as client:
        gate.clear()
        assert client.post("/v1/classify", json={"text": "a"}).status_code == 503
        while (answer := client.get("/health/ready")).status_code == 200:
            pass
        assert answer.json() == {"status": "stuck"}
        gate.set()
        while client.get("/health/ready").status_code != 200:
            pass
        assert client.post("/v1/classify", json={"text": "a"}).status_code == 200


def test_a_worker_that_fails_itself_is_replaced_and_what_it_held_is_answered() -> None:
    def observe(cost: int, waited: float) -> None:
        observed.append(cost)
        if len(observed) <= 3:
            raise ZeroDivisionError("in the worker, not in the call")

    async def main() -> list[Any]:
        batcher = Batcher(Limits(sessions=1, seconds=5), observe=observe)
        await batcher.start()
        answers = [await batcher.submit(lambda values: values, [number], [1]) for number in range(5)]
        await batcher.close()
        return answers

    observed: list[int] = []
    answers = asyncio.run(main())
    assert [isinstance(answer[0], RuntimeError) for answer in answers] == [True] * 3 + [False] * 2
    assert answers[3:] == [[3], [4]]
