"""Queues, topics, key-value stores, secrets, functions."""

import json
import os
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Union
from urllib.parse import quote

from . import _client
from ._client import Error


def _path(*parts):
    return "/v1/apps/" + "/".join(quote(str(p), safe="") for p in (_client.app(),) + parts)


class Queue:
    """A queue of the app's."""

    def __init__(self, name: str):
        self.name = name

    def send(
        self,
        body: Any,
        *,
        key: Optional[str] = None,
        delay: Optional[str] = None,
        deduplication_id: Optional[str] = None,
        attributes: Optional[Dict[str, str]] = None,
    ) -> str:
        """Sends one message and returns its id. It is stored durably by then. delay is a
        duration such as "30s"."""
        message = {"body": body, "key": key, "delay": delay, "deduplication_id": deduplication_id, "attributes": attributes}
        message = {k: v for k, v in message.items() if v is not None or k == "body"}
        return self._send(message)[0]

    def send_all(self, bodies: Iterable[Any]) -> List[str]:
        """Sends several messages, all or none."""
        return self._send({"messages": [{"body": b} for b in bodies]})

    def _send(self, value):
        return [m["id"] for m in _client.send("POST", _path("queues", self.name, "messages"), value)["messages"]]


class Topic:
    """A topic of the app's."""

    def __init__(self, name: str):
        self.name = name

    def publish(self, data: Any, *, subject: Optional[str] = None, id: Optional[str] = None, **extensions: str) -> str:
        """Publishes one event and returns its id. data is any JSON. A second event with the
        same id is the first."""
        event = {
            "specversion": "1.0",
            "type": self.name,
            "source": _client.source(),
            "id": id or _random_id(),
            "datacontenttype": "application/json",
            "data": data,
            **extensions,
        }
        if subject is not None:
            event["subject"] = subject
        _client.request("POST", _path("topics", self.name, "events"), json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json"})
        return event["id"]


def _random_id():
    h = os.urandom(16).hex()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


class Entry(NamedTuple):
    """A value with its revision, for writes that must not overwrite another's."""

    key: str
    value: Any
    revision: int
    expires: Optional[str] = None


class KV:
    """A key-value store of the app's. bytes are stored as they are; everything else as JSON."""

    def __init__(self, name: str):
        self.name = name

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or default where there is none."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Optional[Entry]:
        """The value with its revision, None where there is none."""
        try:
            _, headers, data = _client.request("GET", self._key(key), headers={"Accept": "*/*"})
        except Error as e:
            if e.code == "not_found" and "declares no" not in e.message:
                return None  # the key; a store that is not there is an error
            raise
        return Entry(key, _value(headers.get("Content-Type", ""), data), int(headers.get("Mayfly-Revision") or 0), headers.get("Mayfly-Expires"))

    def put(self, key: str, value: Any, *, ttl: Optional[str] = None, revision: Optional[int] = None, absent: bool = False) -> int:
        """Writes a value and returns its revision. With revision, only over that one; with
        absent, only where there is none: an Error with the code conflict otherwise. ttl is
        a duration such as "90s", "0" for ever; the default is the store's."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            data, kind = bytes(value), "application/octet-stream"
        else:
            data, kind = json.dumps(value).encode(), "application/json"
        return _json(_client.request("PUT", self._key(key), data, {"Content-Type": kind, **_condition(revision, absent)}, {"ttl": ttl}))["revision"]

    def delete(self, key: str, *, revision: Optional[int] = None) -> bool:
        """Deletes a key and reports whether it was there."""
        return _json(_client.request("DELETE", self._key(key), None, _condition(revision, False)))["found"]

    def increment(self, key: str, by: int = 1, *, ttl: Optional[str] = None) -> int:
        """Adds to a whole number, atomically, and returns the new one."""
        return _json(_client.request("POST", self._key(key, "increment"), None, {}, {"by": by, "ttl": ttl}))["value"]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys in order."""
        for k in self._list(prefix, False):
            yield k["key"]

    def items(self, prefix: str = "") -> Iterator[Entry]:
        """All entries in the order of their keys."""
        import base64

        for k in self._list(prefix, True):
            value = base64.b64decode(k["base64"]) if "base64" in k else k.get("value")
            yield Entry(k["key"], value, k["revision"], k.get("expires"))

    def _list(self, prefix, values):
        after = None
        while True:
            page = _client.get(_path("kv", self.name, "keys"), {"prefix": prefix or None, "after": after, "limit": 1000, "values": "true" if values else None})
            yield from page["keys"]
            after = page.get("next")
            if not after:
                return

    def _key(self, key, action="keys"):
        return _path("kv", self.name, action, key)


def _condition(revision: Union[int, None], absent: bool) -> Dict[str, str]:
    if absent or revision == 0:
        return {"If-None-Match": "*"}
    return {} if revision is None else {"If-Match": '"%d"' % revision}


def _value(kind: str, data: bytes) -> Any:
    if kind.partition(";")[0].strip() == "application/json":
        return json.loads(data)
    if kind.startswith("text/"):
        return data.decode("utf-8", "replace")
    return data


def _json(answer):
    return json.loads(answer[2])


def queue(name: str) -> Queue:
    """A queue of the app's."""
    return Queue(name)


def topic(name: str) -> Topic:
    """A topic of the app's."""
    return Topic(name)


def kv(name: str) -> KV:
    """A key-value store of the app's."""
    return KV(name)


def secret(name: str) -> str:
    """The current value of a secret."""
    return _client.get(_path("secrets", name, "value"))["value"]


def invoke(function: str, event: Any = None, *, qualifier: Optional[str] = None, wait: bool = True) -> Any:
    """Calls another function of the app's and returns its result; a FunctionError is its
    failure. With wait=False the call is accepted durably, and its id returned."""
    query = {"qualifier": qualifier, "async": None if wait else "true"}
    answer = _client.send("POST", _path("functions", function, "invoke"), event, query)
    return answer if wait else answer["id"]
