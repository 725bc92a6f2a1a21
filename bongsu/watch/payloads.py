"""Alerts in the forms that others take: Slack, Discord, a template, CAP 1.2 and GeoJSON."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from bongsu.errors import DataError
from bongsu.json_log import json_bytes
from bongsu.live_events import AlertEvent
from bongsu.printable import count as counted

Payload = Callable[[AlertEvent], tuple[bytes, str]]
"""From an alert to what is sent, and its media type."""
CAP = "urn:oasis:names:tc:emergency:cap:1.2"
_JSON = "application/json"
_CATEGORIES = {
    **dict.fromkeys(("earthquake", "tsunami", "landslide", "volcano"), "Geo"),
    **dict.fromkeys(("flood", "storm", "snow", "heat"), "Met"),
    **dict.fromkeys(("explosion", "attack"), "Security"),
    **dict.fromkeys(("fire",), "Fire"),
    **dict.fromkeys(("crash",), "Transport"),
    **dict.fromkeys(("collapse",), "Infra"),
    **dict.fromkeys(("epidemic",), "Health"),
    **dict.fromkeys(("leak",), "CBRNE"),
}
_TEXT = 300
"""Characters of a message that a chat is shown."""


def as_json(alert: AlertEvent) -> tuple[bytes, str]:
    """Return the alert as `bongsu watch` prints it."""
    return json_bytes(alert), _JSON


def as_slack(alert: AlertEvent) -> tuple[bytes, str]:
    """Return a Slack message. Strangers' text can call nobody: `&`, `<` and `>` are escaped as Slack asks."""

    def plain(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    quoted = "\n".join(f"> {plain(line)}" for line in _evidence(alert))
    return json_bytes({"text": f"*{plain(headline(alert))}*\n{quoted}".strip(), "unfurl_links": False}), _JSON


def as_discord(alert: AlertEvent) -> tuple[bytes, str]:
    """Return a Discord message that mentions nobody, at most the 2,000 characters that Discord takes."""
    content = "\n".join([headline(alert), *_evidence(alert)])[:2000]
    return json_bytes({"content": content, "allowed_mentions": {"parse": []}}), _JSON


def as_geojson(alert: AlertEvent) -> tuple[bytes, str]:
    """Return a GeoJSON Feature (RFC 7946). Its geometry is null: places are names, and no gazetteer is asked."""
    return json_bytes({"type": "Feature", "id": alert["id"], "geometry": None, "properties": alert}), "application/geo+json"


def as_cap(alert: AlertEvent) -> tuple[bytes, str]:
    """Return a message of the Common Alerting Protocol 1.2 (OASIS): Alert, Update, or for a closed alert Cancel."""
    ElementTree.register_namespace("", CAP)
    sender = "bongsu"
    raised, sent = _cap_time(alert["raised"]), _cap_time(alert["closed"] or alert["changed"] or alert["raised"])
    kind = {"opened": "Alert", "closed": "Cancel"}.get(alert["state"], "Update")
    root = ElementTree.Element(f"{{{CAP}}}alert")
    first = cap_identifier(alert["id"], "opened", alert["raised"])
    this = first if kind == "Alert" else cap_identifier(alert["id"], alert["state"], alert["closed"] or alert["changed"] or "")
    fields = {
        "identifier": this,
        "sender": sender,
        "sent": sent,
        "status": "Actual",
        "msgType": kind,
        "source": "messages of a live stream",
        "scope": "Public",
    }
    if kind != "Alert":
        fields["references"] = f"{sender},{first},{raised}"
    _add(root, fields)
    info = ElementTree.SubElement(root, f"{{{CAP}}}info")
    _add(
        info,
        {
            "language": "en",
            "category": _CATEGORIES.get(alert["hazard"], "Other"),
            "event": alert["hazard"],
            "urgency": "Unknown",
            "severity": "Unknown",
            "certainty": "Observed" if alert["references"] else "Possible",
            "onset": _cap_time(alert["first_message"] or alert["raised"]),
            "senderName": "Bongsu watch",
            "headline": headline(alert)[:160],
            "description": "\n".join(_evidence(alert)) or headline(alert),
        },
    )
    area = ElementTree.SubElement(info, f"{{{CAP}}}area")
    _add(area, {"areaDesc": ", ".join(alert["places"]) or "unknown"})
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True).replace(b"?>\n", b"?>"), "application/cap+xml"


def cap_identifier(identity: str, state: str, time: str) -> str:
    """Return a CAP identifier, which takes no blanks, commas, `<` and `&`."""
    return "bongsu-" + hashlib.sha256(f"{identity}\0{state}\0{time}".encode("utf-8", "replace")).hexdigest()[:24]


def from_template(path: Path) -> Payload:
    """Return the payload that a file describes: its `$title`, `$state`, `$evidence` ... are replaced.

    In a file that ends in .json each value is written as the inside of a JSON string.

    Raises:
        DataError: when the file cannot be read, or names a field that alerts do not have.
    """
    try:
        template = string.Template(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the template cannot be read ({error}).") from None
    names = set(template.get_identifiers()) if template.is_valid() else None
    if names is None or names - set(_FIELDS):
        wrong = ", ".join(sorted((names or set()) - set(_FIELDS))) or "a lone $; write $$"
        raise DataError(f"{path}: unknown in a template: {wrong}. There are {', '.join('$' + name for name in _FIELDS)}.")
    is_json = path.suffix == ".json"

    def fill(alert: AlertEvent) -> tuple[bytes, str]:
        fields = {name: str(read(alert)) for name, read in _FIELDS.items()}
        if is_json:
            fields = {name: json_bytes(value).decode()[1:-1] for name, value in fields.items()}
        return template.substitute(fields).encode("utf-8", "replace"), _JSON if is_json else "text/plain; charset=utf-8"

    return fill


FORMS: dict[str, Payload] = {
    "json": as_json,
    "slack": as_slack,
    "discord": as_discord,
    "cap": as_cap,
    "geojson": as_geojson,
}


def payload_for(host: str) -> Payload:
    """Return what a host takes: Slack's and Discord's webhooks take no other."""
    if host.endswith("hooks.slack.com"):
        return as_slack
    return as_discord if host in ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com") else as_json


def headline(alert: AlertEvent) -> str:
    """Return one line on an alert."""
    count = counted(alert["messages"], "message")
    since = (alert["first_message"] or alert["raised"])[:16]
    return f"{alert['state'].capitalize()}: {alert['title']} ({count}, since {since}Z)"


def _evidence(alert: AlertEvent) -> list[str]:
    return [" ".join(str(item["text"]).split())[:_TEXT] for item in alert["evidence"][:3]]


_FIELDS: dict[str, Callable[[AlertEvent], object]] = {
    "id": lambda alert: alert["id"],
    "state": lambda alert: alert["state"],
    "title": lambda alert: alert["title"],
    "hazard": lambda alert: alert["hazard"],
    "raised": lambda alert: alert["raised"],
    "messages": lambda alert: alert["messages"],
    "closed": lambda alert: alert["closed"] or "",
    "places": lambda alert: ", ".join(alert["places"]),
    "headline": headline,
    "evidence": lambda alert: "\n".join(_evidence(alert)),
}


def _cap_time(time: str) -> str:
    """CAP takes no fraction of a second and no Z."""
    return re.sub(r"(\.\d+)?Z$", "-00:00", time)


_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _add(parent: ElementTree.Element, fields: dict[str, str]) -> None:
    for name, value in fields.items():
        ElementTree.SubElement(parent, f"{{{CAP}}}{name}").text = _NOT_XML.sub("\ufffd", value)
