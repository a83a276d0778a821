"""Requests to the platform, over a connection for each thread that is kept open."""

import json
import os
import sys
import threading

_TIMEOUT = 60


class Error(Exception):
    """The platform refused or failed. code is one of invalid, unauthorized, denied, not_found,
    conflict, too_large, throttled, quota, timeout, unavailable, internal."""

    def __init__(self, code, message, status=0):
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class FunctionError(Error):
    """A function that was invoked failed."""

    def __init__(self, body, status):
        super().__init__("function_failed", "%s: %s" % (body.get("errorType"), body.get("errorMessage")), status)
        self.type = body.get("errorType")
        self.trace = body.get("stackTrace") or []


_local = threading.local()


def _disconnect():
    """Closes idle connections of the main thread: before a fork."""
    connection = getattr(_local, "connection", None)
    if connection is not None:
        connection.close()
        _local.connection = None


def app():
    return os.environ["MAYFLY_APP"]


def source():
    return "/%s/%s" % (os.environ["MAYFLY_APP"], os.environ.get("MAYFLY_FUNCTION", ""))


def _connect():
    import http.client
    from urllib.parse import urlsplit

    endpoint = os.environ.get("MAYFLY_ENDPOINT")
    if not endpoint:
        raise Error("unavailable", "MAYFLY_ENDPOINT is not set: this code does not run in Mayfly")
    url = urlsplit(endpoint)
    return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=_TIMEOUT)


def _headers(more):
    headers = {"Accept": "application/json", **more}
    worker = sys.modules.get("mayfly_worker.context")
    context = worker.current.get() if worker else None
    if context is not None:
        if context.traceparent:
            headers["traceparent"] = context.traceparent
        headers["X-Mayfly-Hops"] = context.hops
    return headers


def request(method, path, body=None, headers={}, query=None):
    """Returns the status, the headers and the body of an answer that is no error."""
    import http.client
    from urllib.parse import urlencode

    if query:
        query = {k: v for k, v in query.items() if v is not None}
    if query:
        path += "?" + urlencode(query)
    while True:
        connection = getattr(_local, "connection", None)
        kept = connection is not None
        if not kept:
            connection = _local.connection = _connect()
        try:
            connection.request(method, path, body, _headers(headers))
            response = connection.getresponse()
            data = response.read()
            break
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as e:
            _disconnect()
            if not kept:
                raise Error("unavailable", "the platform closed the connection: %s" % e) from e
            # A connection that was kept had been closed meanwhile; nothing was taken by it.
        except OSError as e:
            _disconnect()
            raise Error("timeout" if isinstance(e, TimeoutError) else "unavailable", "the platform does not answer: %s" % e) from e
        except BaseException:
            _disconnect()
            raise
    if response.status >= 400:
        raise _error(response.status, data)
    return response.status, response.headers, data


def _error(status, data):
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if "errorType" in body:
        return FunctionError(body, status)
    return Error(body.get("code") or "internal", body.get("detail") or body.get("title") or "HTTP status %d" % status, status)


def send(method, path, value, query=None):
    """A request with JSON, whose answer is JSON."""
    _, _, data = request(method, path, json.dumps(value).encode(), {"Content-Type": "application/json"}, query)
    return json.loads(data) if data else None


def get(path, query=None):
    _, _, data = request("GET", path, query=query)
    return json.loads(data)
