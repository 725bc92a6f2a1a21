"""재난문자: the emergency messages of Korea's public safety-data API (safetydata.go.kr, service DSSP-IF-00247)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import httpx
import orjson

from bongsu.watch.hazards import OTHER, hazards_in, places_in
from bongsu.watch.messages import Arrival, Reference, tidy
from bongsu.watch.sources.base import SourceEndedError, SourceError, Tally, bounded, check_status
from bongsu.watch.times import read_time

URL = "https://www.safetydata.go.kr/V2/api/DSSP-IF-00247"
_KOREA = timezone(timedelta(hours=9))
_ROWS = 1000
_MOST_PAGES = 50
_LARGEST = 16 << 20
"""Bytes of an answer..."""
_SECONDS = 60.0
"""...and for it."""
_PLAIN = {"Accept-Encoding": "identity"}  # what is not unpacked cannot grow
_VOID = re.compile(r"훈련|오발령|오발송|오송출|잘못\s*(?:발송|발령|송출)|시험\s*(?:발송|메시지)|발송\s*취소")
_LIFTED = re.compile(r"해제|상황\s*종료|진화\s*완료|완진")
_ISSUED = re.compile(r"발효|발령|격상|상향|변경|발표|확대")
_REFUSED_KEY = ("20", "30", "31", "32", "33")


def kind_of(text: str) -> Literal["issued", "lifted", "void"]:
    """Return what a 재난문자 does: 훈련 (a drill) and 오발령 (sent in error) do nothing, 해제 says that it is over."""
    if _VOID.search(text):
        return "void"
    return "lifted" if _LIFTED.search(text) and not _ISSUED.search(text) else "issued"


def reference_of(record: Mapping[str, Any]) -> Reference | None:
    """Return the record as a reference; None when it lacks its number, its time or its text.

    Its time (CRT_DT, "2023/11/15 14:29:31") is Korea's. Kinds come from DST_SE_NM and the text, places from RCPTN_RGN_NM.
    """
    number, text = record.get("SN"), record.get("MSG_CN")
    if not isinstance(number, str | int) or not isinstance(text, str) or not text.strip():
        return None
    moment = read_time(record.get("CRT_DT"), _KOREA)
    if moment is None:
        return None
    region, kind, step = (_words(record, name) for name in ("RCPTN_RGN_NM", "DST_SE_NM", "EMRG_STEP_NM"))
    text = tidy(text)
    hazards = hazards_in(kind) or hazards_in(text) or (OTHER,)
    places = tuple(dict.fromkeys(word for part in region.split(",") for word in part.split() if word != "전체"))
    return Reference(f"재난문자:{tidy(str(number))}", text, moment, hazards, places or places_in(text), step, kind_of(text))


def _words(record: Mapping[str, Any], name: str) -> str:
    return tidy(str(record.get(name) or ""))


class SafetyData:
    """Asks the API for the records of a day again and again; those that were handed over are left out."""

    def __init__(
        self,
        key: str,
        url: str = URL,
        every: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args: key: the service key that safetydata.go.kr gives out. every: seconds between two questions."""
        self.name, self.tally, self.live = "safetydata.go.kr", Tally(), True
        self._key, self._url, self._every, self._transport, self._clock = key, url, every, transport, clock

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; the cursor is the largest number handed over."""
        latest, asked = int(cursor or 0), ""
        async with httpx.AsyncClient(timeout=30, transport=self._transport, headers=_PLAIN) as client:
            while True:
                today = self._day(0.0)
                # What was sent just before midnight is the day before's; so is all that was missed when nobody asked.
                days = [today] if asked == today else [self._day(86400.0), today]
                records = [record for day in days for record in await self._ask(client, day)]
                asked = today
                for record in sorted(records, key=_number):
                    if _number(record) > latest:
                        latest = _number(record)
                        item = reference_of(record)
                        self.tally.note(item is not None, str(record))
                        yield Arrival(item, latest)
                await asyncio.sleep(self._every)

    def _day(self, before: float) -> str:
        return datetime.fromtimestamp(self._clock() - before, UTC).astimezone(_KOREA).strftime("%Y%m%d")

    async def _ask(self, client: httpx.AsyncClient, day: str) -> list[Mapping[str, Any]]:
        """Return the records of a day, of all pages."""
        found: list[Mapping[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            parameters = {"serviceKey": self._key, "returnType": "json", "pageNo": str(page), "numOfRows": str(_ROWS)}
            try:
                async with (
                    asyncio.timeout(_SECONDS),
                    client.stream("GET", self._url, params={**parameters, "crtDt": day}) as response,
                ):
                    check_status(self.name, response.status_code)
                    answer = orjson.loads(await bounded(self.name, response.aiter_bytes(), _LARGEST))
            except (httpx.HTTPError, TimeoutError) as error:  # whose words may hold the key
                raise SourceError(f"{self.name}: {type(error).__name__}") from None
            except ValueError:
                raise SourceError(f"{self.name}: the answer is not JSON.") from None
            self._check_header(answer)
            body = answer.get("body") if isinstance(answer, dict) else None
            records = [record for record in body or [] if isinstance(record, dict)] if isinstance(body, list) else []
            found += records
            total = answer.get("totalCount") if isinstance(answer, dict) else None
            if not body or (len(found) >= total if isinstance(total, int) else len(records) < _ROWS):
                break
        return found

    def _check_header(self, answer: object) -> None:
        header = answer.get("header") if isinstance(answer, dict) else None
        code = str(header.get("resultCode", "00")) if isinstance(header, dict) else "00"
        if code in ("00", "0", "03"):  # 03: no records
            return
        words = str(header.get("errorMsg") or header.get("resultMsg") or "") if isinstance(header, dict) else ""
        text = f"{self.name}: answers with error {code} {words}".strip()
        raise SourceEndedError(f"{text}; is the key right?") if code in _REFUSED_KEY else SourceError(text)


def _number(record: Mapping[str, Any]) -> int:
    number = str(record.get("SN", ""))
    return int(number) if number.isdecimal() and len(number) < 19 else 0
