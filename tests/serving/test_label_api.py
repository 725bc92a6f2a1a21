"""Labels over HTTP: who may, what is kept, and that nobody who asks for predictions notices a swap."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_service import client_of, fake_service

from bongsu.inference.onnx import BundlePredictor
from bongsu.labelling.desk import Desk
from bongsu.labelling.store import Candidate, LabelStore
from bongsu.serving.service import Service


@pytest.fixture(scope="module")
def detector(with_features: Path) -> BundlePredictor:
    return BundlePredictor.load(with_features, "float32", sessions=2)


@pytest.fixture
def serve(detector: BundlePredictor, sentences: list[str]) -> Callable[..., Service]:
    def make(**options: Any) -> Service:
        desk = Desk(LabelStore(None))
        service = fake_service(lambda: desk.open(detector), desk=desk, **options)
        texts = sentences[200:400]
        positive = detector.probabilities(texts)[:, 1].tolist()
        rows = enumerate(zip(texts, positive, strict=True))
        desk.offer([Candidate("s", str(number), "", text, 7200.0 + number, value) for number, (text, value) in rows])
        return service

    return make


async def label(client: httpx.AsyncClient, count: int) -> dict[str, Any]:
    for number in range(count):
        [asked] = (await client.get("/v1/labels/queue?count=1")).json()["waiting"]
        body = {"source": asked["source"], "id": asked["id"], "label": number % 2, "by": "kim"}
        answer = await client.post("/v1/labels", json=body)
        assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_message_is_labelled_undone_and_labelled_again(serve: Callable[..., Service]) -> None:
    async def main() -> None:
        async with client_of(serve()) as client:
            queue = (await client.get("/v1/labels/queue")).json()
            assert queue["classes"] == ["other", "disaster"]
            assert len(queue["waiting"]) == 10
            assert set(queue["waiting"][0]) == {"source", "id", "text", "time"}  # nothing that could lead anybody
            labelled = await label(client, 3)
            assert labelled["status"]["labels"] == 3
            assert labelled["status"]["missing"] == 7
            assert labelled["status"]["accuracy"]["whole"] == 2
            assert labelled["status"]["expected"]["error"] == 0.04
            undone = (await client.post("/v1/labels/undo", json={"by": "kim"})).json()
            assert undone["id"] == queue["waiting"][2]["id"]
            assert (await client.post("/v1/labels/undo", json={"by": "lee"})).json()["id"] is None
            first = queue["waiting"][0]
            again = await client.post("/v1/labels", json={"source": first["source"], "id": first["id"], "label": 1})
            assert again.status_code == 409
            wrong = await client.post("/v1/labels", json={"source": "s", "id": "1", "label": 2})
            assert wrong.status_code == 422
            rows = (await client.get("/v1/labels/export", params={"event": "mokpo"})).content.decode("utf-8-sig").splitlines()
            assert rows[0].startswith("id,text,target,event")
            assert len(rows) == 3
            metrics = (await client.get("/metrics")).text
            assert "bongsu_label_answers_total 2.0" in metrics
            assert 'bongsu_label_accuracy{bound="low"}' in metrics

    asyncio.run(main())


def test_it_learns_and_goes_back_and_answers_name_the_version(serve: Callable[..., Service], detector: BundlePredictor) -> None:
    async def main() -> None:
        service = serve()
        async with client_of(service) as client:
            await label(client, 10)
            while service._work:
                await asyncio.sleep(0.01)
            status = (await client.get("/v1/labels/status")).json()
            assert [(each["labels"], each["verdict"]["why"]) for each in status["versions"]] == [(10, "few")]
            assert status["used"] == 0
            learned = (await client.post("/v1/labels/learn", json={})).json()
            assert learned["labels"] == 10
            used = (await client.post("/v1/labels/use", json={"version": 1, "by": "kim"})).json()
            assert used["model"] == f"{detector.version}+1"
            assert (await client.post("/v1/classify", json={"text": "bada gufe"})).json()["model"] == f"{detector.version}+1"
            back = (await client.post("/v1/labels/use", json={"version": 0})).json()
            assert back["model"] == detector.version
            assert (await client.post("/v1/classify", json={"text": "bada gufe"})).json()["model"] == detector.version
            assert (await client.post("/v1/labels/use", json={"version": 7})).status_code == 409

    asyncio.run(main())


def test_who_has_no_key_and_pages_of_other_sites_cannot_label(serve: Callable[..., Service]) -> None:
    async def main() -> None:
        service = serve(api_key="secret")
        async with client_of(service) as client:
            for path in ("/v1/labels/queue", "/v1/labels/status", "/v1/labels/export"):
                assert (await client.get(path)).status_code == 401
            assert (await client.post("/v1/labels", json={})).status_code == 401
        async with client_of(service, Authorization="Bearer secret") as client:
            [asked] = (await client.get("/v1/labels/queue?count=1")).json()["waiting"]
            body = {"source": asked["source"], "id": asked["id"], "label": 1, "by": "kim"}
            foreign: list[dict[str, str]] = [
                {"Origin": "https://evil.example"},
                {"Origin": "null"},
                {"Origin": "http://test", "Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
            ]
            for headers in foreign:
                assert (await client.post("/v1/labels", json=body, headers=headers)).status_code == 403
            assert service.desk is not None
            assert service.desk.store.labels() == []
            own = {"Origin": "http://test", "Sec-Fetch-Site": "same-origin"}
            kept = await client.post("/v1/labels", json=body, headers=own)
            assert kept.status_code == 200
            assert kept.json()["by"].startswith("kim (key ")
            assert "secret" not in kept.json()["by"]

    asyncio.run(main())


def test_without_labels_there_is_no_desk_and_drift_is_watched() -> None:
    async def main() -> None:
        service = fake_service()
        async with client_of(service) as client:
            assert (await client.get("/v1/labels/status")).status_code == 404
            assert (await client.get("/v1/drift")).json() == {"drift": None}
            assert service.drift is not None
            for hour in range(7):
                messages = [Candidate("s", str(each), "", f"word{each}", 3600.0 * hour, each / 100) for each in range(60)]
                assert service.drift.add(messages) is None
            await client.post("/v1/classify", json={"text": ["storm"]})
            while not any(kept.words == {"storm"} for hour in service.drift._hours.values() for kept in hour.sample()):
                await asyncio.sleep(0.01)
            found = (await client.get("/v1/drift")).json()["drift"]
            assert (found["alarm"], found["advice"], found["messages"]) == (False, None, 60)
            assert {each["distance"] for each in found["changes"]} == {0.0}
            metrics = (await client.get("/metrics")).text
            assert "bongsu_drift_alarm 0.0" in metrics
            assert 'bongsu_drift_mean{figure="characters",when="now"}' in metrics

    asyncio.run(main())


def test_what_clients_send_may_be_asked_about(serve: Callable[..., Service]) -> None:
    async def main() -> None:
        service = serve()
        assert service.desk is not None
        async with client_of(service) as client:
            await client.post("/v1/classify", json={"text": ["storm over the harbour tonight"]})
            while "storm over the harbour tonight" not in {each.text for each in service.desk._queue.sample()}:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_no_request_is_lost_while_versions_are_swapped(serve: Callable[..., Service]) -> None:
    async def main() -> None:
        service = serve()
        assert service.desk is not None
        async with client_of(service) as client:
            await label(client, 10)
            await client.post("/v1/labels/learn", json={})
            stop, answered = asyncio.Event(), list[tuple[int, str]]()

            async def ask() -> None:
                while not stop.is_set():
                    answer = await client.post("/v1/classify", json={"text": ["bada gufe", "rimo kota"]})
                    answered.append((answer.status_code, answer.json()["model"]))

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            for version in itertools.islice(itertools.cycle([1, 0]), 100):
                assert (await client.post("/v1/labels/use", json={"version": version})).status_code == 200
            stop.set()
            await asyncio.gather(*asking)
            assert {status for status, _ in answered} == {200}
            assert len({model for _, model in answered}) == 2

    asyncio.run(main())
