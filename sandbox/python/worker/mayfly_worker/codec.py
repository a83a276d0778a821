"""JSON as fast as the standard library can. Encoders are made once, not per call."""

import decimal
import json
import json.encoder
import json.scanner

from .errors import Failure


def _default(o):
    if isinstance(o, decimal.Decimal):
        return float(o)  # as Lambda's runtime does
    raise TypeError("Object of type %s is not JSON serializable" % type(o).__name__)


_decoder = json.JSONDecoder()
_scan = json.scanner.make_scanner(_decoder)


def decode(body):
    """The event. The daemon sends JSON without spaces around it, mostly."""
    text = body.decode("utf-8", "surrogatepass")
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        return json.loads(text)
    if end != len(text):
        return json.loads(text)
    return value


_slow = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_default)


def _make():
    c = json.encoder.c_make_encoder
    if c is None:
        return _slow.encode
    # The arguments of JSONEncoder.iterencode, whose every call makes one of these.
    one = c(None, _default, json.encoder.encode_basestring, None, ":", ",", False, False, False)

    def fast(value):
        return "".join(one(value, 0))

    probe = {"a": [1, 2.5, None, True, "ä\n"]}
    if fast(probe) != _slow.encode(probe):
        return _slow.encode
    return fast


try:
    _fast = _make()
except Exception:
    _fast = _slow.encode


def encode(value):
    """The result as bytes. It raises a Failure of type Runtime.MarshalError."""
    try:
        return _fast(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(value, separators=(",", ":"), default=_default).encode()
    except RecursionError:
        raise Failure("Runtime.MarshalError", "Unable to marshal response: it contains itself, or is too deep") from None
    except (TypeError, ValueError, OverflowError) as e:
        raise Failure("Runtime.MarshalError", "Unable to marshal response: %s" % e) from None
