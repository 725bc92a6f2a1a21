"""재난문자: the emergency messages of Korea's public safety-data API (safetydata.go.kr, service DSSP-IF-00247)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx

from bongsu.watch.hazards import OTHER, hazards_in, places_in
from bongsu.watch.messages import Arrival, Reference, tidy
from bongsu.watch.sources.base import pause

URL = "https://www.safetydata.go.kr/V2/api/DSSP-IF-00247"
_KOREA = timezone(timedelta(hours=9))


def reference_of(record: Mapping[str, Any]) -> Reference | None:
    """The record as a reference; None when it lacks its number, its time or its text.

    Its time (CRT_DT, "2023/11/15 14:29:31") is Korea's. Kinds come from DST_SE_NM and the text, places from RCPTN_RGN_NM.
    """
    number, text = record.get("SN"), record.get("MSG_CN")
    if not isinstance(number, str | int) or not isinstance(text, str) or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(str(record.get("CRT_DT")).replace("/", "-"))
    except ValueError:
        return None
    region, kind = str(record.get("RCPTN_RGN_NM") or ""), str(record.get("DST_SE_NM") or "")
    hazards = hazards_in(kind) or hazards_in(text) or (OTHER,)
    places = tuple(dict.fromkeys(word for part in region.split(",") for word in part.split() if word != "전체"))
    moment = moment.replace(tzinfo=_KOREA) if moment.tzinfo is None else moment
    return Reference(
        f"재난문자:{number}",
        tidy(text),
        moment.timestamp(),
        hazards,
        places or places_in(text),
        str(record.get("EMRG_STEP_NM") or ""),
    )


class SafetyData:
    """Asks the API for the day's records again and again; those that were handed over are left out."""

    def __init__(self, key: str, url: str = URL, every: float = 60.0, client: httpx.AsyncClient | None = None) -> None:
        """Args: key: the service key that safetydata.go.kr gives out. every: seconds between two questions."""
        self.name, self.garbage, self.live = "safetydata.go.kr", 0, True
        self._key, self._url, self._every, self._client = key, url, every, client

    async def arrivals(self, cursor: Any) -> AsyncIterator[Arrival]:
        """See `Source`; the cursor is the largest number handed over."""
        latest, failed = int(cursor or 0), 0
        async with self._client or httpx.AsyncClient(timeout=30) as client:
            while True:
                try:
                    records = await self._ask(client)
                    failed = 0
                except (httpx.HTTPError, ValueError):
                    failed += 1
                    records = []
                for record in sorted(records, key=lambda one: _number(one)):
                    if _number(record) > latest:
                        latest = _number(record)
                        item = reference_of(record)
                        self.garbage += item is None
                        yield Arrival(item, latest)
                await asyncio.sleep(self._every + (pause(failed) if failed else 0))

    async def _ask(self, client: httpx.AsyncClient) -> list[Mapping[str, Any]]:
        day = datetime.fromtimestamp(time.time(), UTC).astimezone(_KOREA).strftime("%Y%m%d")
        parameters = {"serviceKey": self._key, "returnType": "json", "pageNo": "1", "numOfRows": "1000", "crtDt": day}
        response = await client.get(self._url, params=parameters)
        response.raise_for_status()
        body = response.json()
        records = body.get("body") if isinstance(body, dict) else None
        return [record for record in records or [] if isinstance(record, dict)]


def _number(record: Mapping[str, Any]) -> int:
    number = str(record.get("SN", ""))
    return int(number) if number.isdecimal() else 0
