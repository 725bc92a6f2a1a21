"""The API over HTTP, in this process, with a predictor whose answers are known."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_service import FakePredictor, client_of, fake_service, share

from bongsu.errors import WorkspaceError
from bongsu.json_log import JsonLines
from bongsu.recipe import Regression
from bongsu.serving.limits import Limits
from bongsu.serving.service import Service
from bongsu.tasks.regression import RegressionTask
from bongsu.tasks.task import Schema


def ask(service: Service, *requests: Any, **headers: str) -> list[Any]:
    """Sends requests one after the other: a path to GET, or a path and a body to POST (bytes are sent as they are)."""

    async def main() -> list[Any]:
        async with client_of(service, **headers) as client:
            answers = []
            for request in requests:
                if isinstance(request, str):
                    answers.append(await client.get(request))
                elif isinstance(request[1], bytes):
                    kind = {"Content-Type": "application/json"}
                    answers.append(await client.post(request[0], content=request[1], headers=kind))
                else:
                    answers.append(await client.post(request[0], json=request[1]))
            return answers

    return asyncio.run(main())


def test_one_message_and_many() -> None:
    texts = ["fire in the hills", "지진", "🔥"]
    one, many = ask(fake_service(), ("/v1/classify", {"text": texts[0]}), ("/v1/classify", {"text": texts}))
    assert one.json()["results"] == many.json()["results"][:1]
    answer = many.json()
    assert answer["model"] == "one"
    assert answer["threshold"] == 0.5
    for text, result in zip(texts, answer["results"], strict=True):
        assert result["probability"] == share(text)
        assert result["label"] == ("disaster" if share(text) >= 0.5 else "other")
        assert result["value"] == ("1" if share(text) >= 0.5 else "0")
        assert result["explanation"] is None


def test_explanation_gives_every_word_its_weight() -> None:
    expected = [(word, share(word) - 0.5) for word in ("forest", "fire", "near")]
    [answer] = ask(fake_service(), ("/v1/classify", {"text": "forest fire near", "explain": True}))
    words = answer.json()["results"][0]["explanation"]
    assert [(each["word"], each["weight"]) for each in words] == expected


def test_context_goes_before_its_message() -> None:
    [answer] = ask(fake_service(), ("/v1/classify", {"text": ["a", "b"], "context": [["wildfire"], [""]]}))
    assert [each["probability"] for each in answer.json()["results"]] == [share("wildfire a"), share(" b")]


def test_predict_answers_with_a_model_of_any_kind() -> None:
    posts = [("/v1/predict", {"inputs": inputs}) for inputs in (["fire", "quake"], [["fire"]], [["a", "b"]], [])]
    good, alone, pair, none = ask(fake_service(), *posts)
    assert good.json()["kind"] == "classification"
    assert [each["probability"] for each in good.json()["results"]] == [share("fire"), share("quake")]
    assert good.json()["results"][0]["probabilities"]["disaster"] == share("fire")
    assert alone.json()["results"] == good.json()["results"][:1]
    assert pair.status_code == none.status_code == 422
    assert "entry 1 has 2 texts; a classification model reads 1" in pair.json()["error"]


def test_embed_gives_a_vector_for_each_text() -> None:
    [answer] = ask(fake_service(), ("/v1/embed", {"text": ["fire", "quake"]}))
    assert answer.json()["vectors"] == [[share("fire"), 1.0], [share("quake"), 1.0]]


def test_another_kind_of_model_is_not_asked_to_classify() -> None:
    class Numbers(FakePredictor):
        task = RegressionTask(Regression(train="x"), Schema())  # type: ignore[assignment]

        def probabilities(self, texts: Sequence[str]) -> Any:
            return np.zeros((len(texts), 1))

    refused, _ = ask(fake_service(Numbers), ("/v1/classify", {"text": "a"}), "/health/live")
    assert refused.status_code == 404
    assert "a regression model; ask it at /v1/predict" in refused.json()["error"]


def test_fill_mask() -> None:
    good, bad = ask(
        fake_service(), ("/v1/fill-mask", {"text": "a [MASK] b [MASK]", "top_k": 2}), ("/v1/fill-mask", {"text": "none"})
    )
    assert [[guess["probability"] for guess in mask] for mask in good.json()["masks"]] == [[0.5, 0.25]] * 2
    assert bad.status_code == 422
    assert "[MASK]" in bad.json()["error"]


LIMITS = Limits(items=3, characters=10, body_bytes=200, explanations=2)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/classify", {}, 422, "text: is missing."),
        ("/v1/classify", {"text": 3}, 422, "text: is not a list."),
        ("/v1/classify", {"text": ["a", 3]}, 422, "text.1: is not text."),
        ("/v1/classify", {"text": []}, 422, "text: is an empty list."),
        ("/v1/classify", {"text": "a", "explian": True}, 422, "explian: is not a field"),
        ("/v1/classify", {"text": "a", "explain": "yes"}, 422, "explain: is not true or false."),
        ("/v1/classify", [1], 422, "not a JSON object"),
        ("/v1/classify", b"", 422, "not a JSON object"),
        ("/v1/classify", b'{"text": ', 422, "not a JSON object"),
        ("/v1/classify", b"[" * 199, 422, "not a JSON object"),
        ("/v1/classify", b'{"text": "\\ud800"}', 422, "text: message 1 is not valid Unicode text"),
        ("/v1/classify", b'{"text": "\xff"}', 415, "not UTF-8 (byte 11)"),
        ("/v1/classify", {"text": ["a"] * 4}, 422, "text: 4 messages; this server classifies at most 3"),
        ("/v1/classify", {"text": ["a"] * 3, "explain": True}, 422, "explains at most 2"),
        ("/v1/classify", {"text": ["a", "b" * 11]}, 422, "message 2 is longer than 10 characters"),
        ("/v1/classify", {"text": "a", "context": [["b" * 11]]}, 422, "context: entry 1 is longer"),
        ("/v1/classify", {"text": ["a"], "context": []}, 422, "context: 0 entries for 1 messages"),
        ("/v1/classify", {"text": "a" * 200}, 413, "larger than 200 bytes"),
        ("/v1/fill-mask", {"text": "[MASK]", "top_k": 0}, 422, "top_k: is less than 1."),
        ("/v1/fill-mask", {"text": "[MASK]", "top_k": 101}, 422, "top_k: is more than 100."),
        ("/v1/fill-mask", {"text": "[MASK]", "top_k": 1.5}, 422, "top_k: is not a whole number."),
        ("/v1/nothing", {}, 404, "/docs"),
        ("/health/live", {}, 405, "/docs"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(path: str, body: Any, status: int, words: str) -> None:
    [answer] = ask(fake_service(limits=LIMITS), (path, body))
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_a_body_without_end_is_cut_off() -> None:
    sent = 0

    async def endless():  # type: ignore[no-untyped-def]
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000

    async def main() -> int:
        async with client_of(fake_service(limits=Limits(body_bytes=5000))) as client:
            return (await client.post("/v1/classify", content=endless())).status_code  # type: ignore[no-any-return,no-untyped-call]

    assert asyncio.run(main()) == 413
    assert sent <= 7000


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def stalled():  # type: ignore[no-untyped-def]
        yield b'{"text":'
        await asyncio.Event().wait()

    async def main() -> int:
        async with client_of(fake_service(limits=Limits(seconds=0.05))) as client:
            return (await client.post("/v1/classify", content=stalled())).status_code  # type: ignore[no-any-return,no-untyped-call]

    assert asyncio.run(main()) == 408


def test_api_key() -> None:
    def statuses(**headers: str) -> list[int]:
        closed: tuple[tuple[str, dict[str, str]], ...] = (
            ("/v1/classify", {"text": "a"}),
            ("/v1/fill-mask", {"text": "[MASK]"}),
            ("/v1/admin/reload", {}),
        )
        return [answer.status_code for answer in ask(fake_service(api_key="secret"), *closed, "/health/live", "/", **headers)]

    assert statuses() == [401, 401, 401, 200, 200]
    assert statuses(Authorization="Bearer Secret") == [401, 401, 401, 200, 200]
    assert statuses(Authorization="Basic secret") == [401, 401, 401, 200, 200]
    assert statuses(Authorization="Bearer secret") == [200, 200, 200, 200, 200]


def test_an_unforeseen_error_is_no_traceback_and_fails_nobody_else() -> None:
    async def main() -> list[Any]:
        async with client_of(fake_service()) as client:
            return await asyncio.gather(*(client.post("/v1/classify", json={"text": text}) for text in ("a", "poison", "b")))

    answers = asyncio.run(main())
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert answers[1].json() == {"error": "Something went wrong in the server; its log says what."}


def test_a_full_queue_answers_429_with_retry_after() -> None:
    gate = threading.Event()
    gate.set()
    predictor = FakePredictor(gate=gate)
    service = fake_service(lambda: predictor, Limits(queue_items=2, sessions=1, batch_items=1))
    gate.clear()
    predictor.entered = False

    async def main() -> list[Any]:
        async with client_of(service) as client:
            tasks = [asyncio.create_task(client.post("/v1/classify", json={"text": "the first"}))]
            while not predictor.entered:
                await asyncio.sleep(0.005)
            tasks += [asyncio.create_task(client.post("/v1/classify", json={"text": str(number)})) for number in range(11)]
            while sum(task.done() for task in tasks) < 9:  # one is computed, two wait
                await asyncio.sleep(0.005)
            gate.set()
            return await asyncio.gather(*tasks)

    answers = asyncio.run(main())
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 9
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert sum(answer.status_code == 200 for answer in answers) == 3


def test_concurrent_answers_equal_single_ones() -> None:
    texts = [f"message number {number}" for number in range(60)]

    async def main() -> list[Any]:
        async with client_of(fake_service()) as client:
            return await asyncio.gather(*(client.post("/v1/classify", json={"text": text}) for text in texts))

    assert [answer.json()["results"][0]["probability"] for answer in asyncio.run(main())] == [share(text) for text in texts]


def test_a_bundle_is_swapped_under_load_and_a_bad_one_refused() -> None:
    versions = iter(["one", "two", None, "three"])

    def load() -> FakePredictor:
        version = next(versions)
        if version is None:
            raise WorkspaceError("bundle: its content has changed.")
        return FakePredictor(version)

    async def main() -> tuple[list[Any], list[Any]]:
        async with client_of(fake_service(load, api_key="k"), Authorization="Bearer k") as client:
            done = asyncio.Event()
            answers: list[Any] = []

            async def traffic() -> None:
                while not done.is_set():
                    answers.append(await client.post("/v1/classify", json={"text": ["a", "b"]}))

            clients = [asyncio.create_task(traffic()) for _ in range(4)]
            swaps = []
            for _ in range(3):
                await asyncio.sleep(0.05)
                swaps.append(await client.post("/v1/admin/reload"))
            await asyncio.sleep(0.05)
            done.set()
            await asyncio.gather(*clients)
            return swaps, answers

    swaps, answers = asyncio.run(main())
    assert [swap.status_code for swap in swaps] == [200, 409, 200]
    assert "keeps serving" in swaps[1].json()["error"]
    assert {answer.status_code for answer in answers} == {200}
    served = [answer.json()["model"] for answer in answers]
    assert list(dict.fromkeys(served)) == ["one", "two", "three"]


def test_long_messages_count_for_more_in_the_queue() -> None:
    def cost(path: str, body: dict[str, Any]) -> float:
        _, metrics = ask(fake_service(), (path, body), "/metrics")
        [line] = [line for line in metrics.text.splitlines() if line.startswith("bongsu_batch_items_sum")]
        return float(line.split()[1])

    assert cost("/v1/classify", {"text": ["a" * 4500, "b", "c" * 1000]}) == 5 + 1 + 1
    assert cost("/v1/classify", {"text": "a", "context": [["b" * 2500]]}) == 3
    assert cost("/v1/classify", {"text": "one two " + "a" * 1500, "explain": True}) == 2 * (2 + 3)
    assert cost("/v1/predict", {"inputs": ["a" * 4500, "b"]}) == 5 + 1
    assert cost("/v1/embed", {"text": ["a" * 4500]}) == 5


def test_reload_needs_a_key_to_be_set() -> None:
    [answer] = ask(fake_service(), ("/v1/admin/reload", {}))
    assert answer.status_code == 403


def test_a_bundle_that_answers_nonsense_is_refused() -> None:
    class Broken(FakePredictor):
        def decide(self, probability: float) -> Any:
            return super().decide(float("nan"))

    with pytest.raises(WorkspaceError, match="not finite numbers"):
        fake_service(Broken)


def test_metrics_and_health() -> None:
    service = fake_service()
    posts: tuple[tuple[str, dict[str, Any]], ...] = ("/v1/classify", {"text": ["a", "b", "c"]}), ("/v1/classify", {})
    answers = ask(service, *posts, "/made/up", "/health/live", "/health/ready", "/metrics")
    assert [answer.status_code for answer in answers] == [200, 422, 404, 200, 200, 200]
    figures = dict(line.rsplit(" ", 1) for line in answers[-1].text.splitlines() if not line.startswith("#"))
    assert figures['bongsu_requests_total{path="/v1/classify",status="200"}'] == "1.0"
    assert figures['bongsu_requests_total{path="/v1/classify",status="422"}'] == "1.0"
    assert figures['bongsu_requests_total{path="other",status="404"}'] == "1.0"
    assert figures["bongsu_batch_items_sum"] == "3.0"
    assert figures["bongsu_queue_items"] == "0.0"
    assert figures['bongsu_model{engine="float32",version="one"}'] == "1.0"
    assert sum(float(value) for name, value in figures.items() if name.startswith("bongsu_labels_total")) == 3
    service.drain()
    [ready] = ask(service, "/health/ready")
    assert ready.status_code == 503


@pytest.mark.parametrize("log_text", [False, True])
def test_log_lines_are_json_and_carry_messages_only_when_asked(caplog: pytest.LogCaptureFixture, log_text: bool) -> None:
    with caplog.at_level(logging.INFO, "bongsu.serving"):
        ask(fake_service(log_text=log_text), ("/v1/classify", {"text": "a secret\nmessage"}), **{"X-Request-ID": "abc-1"})
    [line] = [JsonLines().format(record) for record in caplog.records if record.name == "bongsu.serving"]
    logged = json.loads(line)
    assert "\n" not in line
    assert (logged["path"], logged["status"], logged["items"], logged["characters"]) == ("/v1/classify", 200, 1, 16)
    assert logged["id"] == "abc-1"
    assert ("secret" in line) is log_text


def test_the_stream_relays_what_is_published() -> None:
    async def main() -> list[Any]:
        service = fake_service()
        async with client_of(service) as client:

            async def publish() -> None:
                while not len(service.stream):
                    await asyncio.sleep(0.005)
                threading.Thread(target=service.stream.publish, args=({"type": "message", "text": "불\n이야"},)).start()
                await asyncio.sleep(0.05)
                service.drain()

            publisher = asyncio.create_task(publish())
            answer = await client.get("/v1/stream")
            await publisher
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert (await client.get("/v1/stream")).status_code == 503
            return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]

    assert asyncio.run(main()) == [{"type": "message", "text": "불\n이야"}]


def test_documentation_is_served_from_here_with_examples() -> None:
    docs, schema = ask(fake_service(), "/docs", "/openapi.json")
    assert docs.status_code == 200
    assert "https://" not in docs.text
    described = schema.json()
    assert set(described["paths"]) >= {"/v1/classify", "/v1/fill-mask", "/v1/stream", "/health/ready", "/metrics"}
    assert len(described["components"]["schemas"]["ClassifyRequest"]["examples"]) == 2
