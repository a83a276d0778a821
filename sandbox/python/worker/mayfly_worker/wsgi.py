"""A WSGI application (PEP 3333) as a handler of API Gateway events."""

import base64
import io
import sys
from urllib.parse import unquote_to_bytes

from . import call
from .call import Head, Whole
from .errors import Failure

_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate", "proxy-authorization"}

WHOLE = 1 << 20


def body_of(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return base64.b64decode(body)
    return body.encode("utf-8", "surrogatepass")


def check(event):
    if not isinstance(event, dict) or "http" not in (event.get("requestContext") or {}):
        raise Failure("Runtime.NotHTTP", "This function is a web application: call it through an `http` trigger, with an event of payload format 2.0")


def environ(event, context, errors, multithread):
    """The environment of PEP 3333."""
    http = event["requestContext"]["http"]
    headers = event.get("headers") or {}
    body = body_of(event)
    host, _, port = (headers.get("host") or event["requestContext"].get("domainName") or "localhost").partition(":")
    scheme = headers.get("x-forwarded-proto", "http")
    env = {
        "REQUEST_METHOD": http["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(event.get("rawPath") or http["path"]).decode("latin-1"),
        "QUERY_STRING": event.get("rawQueryString") or "",
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": host,
        "SERVER_PORT": port or ("443" if scheme == "https" else "80"),
        "SERVER_PROTOCOL": http.get("protocol") or "HTTP/1.1",
        "REMOTE_ADDR": http.get("sourceIp", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "mayfly.event": event,
        "mayfly.context": context,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            env["HTTP_" + key] = value
    if event.get("cookies"):
        env["HTTP_COOKIE"] = "; ".join(event["cookies"])
    return env


class Application:
    """Runs the application and sends what it answers. Its result is a generator, so that
    it streams as any other handler does."""

    def __init__(self, app, threads):
        self.app = app
        self.threads = threads

    def __call__(self, event, context):
        check(event)
        return self.respond(event, context)

    def respond(self, event, context):
        started = []
        written = []

        def start_response(status, headers, exc_info=None):
            if exc_info:
                try:
                    if started and started[0] is SENT:
                        raise exc_info[1].with_traceback(exc_info[2])
                finally:
                    exc_info = None
            elif started:
                raise AssertionError("start_response was called twice")
            started[:] = [(status, list(headers))]
            return written.append

        result = self.app(environ(event, context, sys.stderr, self.threads > 1), start_response)
        try:
            sent = False
            if isinstance(result, (list, tuple)) and not written and sum(map(len, result)) <= WHOLE:
                if not started:
                    raise AssertionError("the application did not call start_response")
                yield Whole(head(*started[0]), b"".join(result))
                return
            for data in result:
                data = b"".join(written) + data
                written.clear()
                if not data:
                    continue
                if not sent:
                    if not started:
                        raise AssertionError("the application did not call start_response")
                    yield Head(head(*started[0]))
                    sent, started[0] = True, SENT
                yield data
            rest = b"".join(written)
            if not sent:
                if not started:
                    raise AssertionError("the application did not call start_response")
                yield Whole(head(*started[0]), rest)
            elif rest:
                yield rest
        finally:
            if hasattr(result, "close"):
                result.close()


SENT = object()


def head(status, headers):
    code = int(status.split(" ", 1)[0])
    return call.meta(code, [(k, v) for k, v in headers if k.lower() not in _HOP])
