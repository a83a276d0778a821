"""Exceptions as the error bodies of Lambda's Invoke."""

import json
import os
import traceback

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep

MAX_MESSAGE = 32 << 10
MAX_FRAMES = 100


class Failure(Exception):
    """An error with a type of the platform's."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = list(trace)


def describe(e):
    """The body for an exception, as bytes of JSON."""
    if isinstance(e, Failure):
        kind, message, trace = e.kind, e.message, e.trace
    else:
        kind, message, trace = type(e).__name__, _message(e), frames(e)
    body = {"errorType": kind, "errorMessage": message[:MAX_MESSAGE], "stackTrace": trace}
    return json.dumps(body).encode()


def frames(e):
    """The lines of a traceback without those of this package and of the import machinery."""
    found = traceback.extract_tb(e.__traceback__)
    kept = [f for f in found if not f.filename.startswith(_HERE) and not f.filename.startswith("<frozen ")]
    if len(kept) > MAX_FRAMES:
        kept = kept[: MAX_FRAMES // 2] + kept[-MAX_FRAMES // 2 :]
    return [line[:1000] for line in traceback.format_list(kept)]


def readable(e):
    """What goes to the log: the message and the traceback, causes included."""
    if isinstance(e, Failure):
        return "[ERROR] %s: %s\n%s" % (e.kind, e.message, "".join(e.trace))
    return "[ERROR] %s: %s\n%s" % (type(e).__name__, _message(e), "Traceback (most recent call last):\n" + "".join(frames(e)))


def _message(e):
    try:
        return str(e)
    except Exception:
        return "<a %s that cannot be shown>" % type(e).__name__


def of_load(e, module):
    """The Failure for an exception that a module's import raised."""
    if isinstance(e, Failure):
        return e
    if isinstance(e, SyntaxError):
        where = '  File "%s", line %s\n    %s\n' % (e.filename, e.lineno, (e.text or "").strip())
        return Failure("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s (%s, line %s)" % (module, e.msg, _short(e.filename), e.lineno), [where])
    if isinstance(e, ImportError):
        return Failure("Runtime.ImportModuleError", "Unable to import module '%s': %s%s" % (module, _message(e), _place(e)), frames(e))
    return Failure(type(e).__name__, "%s%s" % (_message(e), _place(e)), frames(e))


def _place(e):
    """Where in the user's code an import failed: " (app.py, line 3)"."""
    found = [f for f in traceback.extract_tb(e.__traceback__) if not f.filename.startswith((_HERE, "<frozen "))]
    inside = [f for f in found if f.filename.startswith(os.getcwd() + os.sep)] or found
    if not inside:
        return ""
    return " (%s, line %s)" % (_short(inside[-1].filename), inside[-1].lineno)


def _short(path):
    if not path:
        return "?"
    here = os.getcwd() + os.sep
    return path[len(here) :] if path.startswith(here) else path
