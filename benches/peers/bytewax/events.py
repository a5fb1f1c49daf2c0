"""Records of the three inputs as what their rows need. All declared fields are checked, as Plimsoll checks them.

msgspec decodes and checks in C, in half the time that orjson takes to decode alone.
"""

from datetime import datetime, timedelta, timezone
from typing import Annotated, Optional

import msgspec
from ciso8601 import parse_rfc3339
from msgspec import Meta, Struct

HIGHEST_US = (1 << 42) - 1
SEPARATOR = "\x1f"
_MAX_AHEAD_US = 60_000_000
_MAX_ROUTE_BYTES = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FAILURES = frozenset((0, 408, 499))

_Text = Annotated[str, Meta(min_length=1)]
# Numbers are compared at their scale, half up, so half a unit more or less is still within.
_Sized = Annotated[float, Meta(gt=-9_223_372_036_854.775, lt=9_223_372_036_854.775)]
_Positive = Annotated[float, Meta(ge=0.000_000_5, lt=9_223_372_036_854.775)]
_NotNegative = Annotated[float, Meta(gt=-0.000_000_5, lt=9_223_372_036_854.775)]
_Share = Annotated[float, Meta(gt=-0.000_000_5, lt=1.000_000_5)]
_Millis = Annotated[float, Meta(gt=-0.000_5, lt=(HIGHEST_US + 0.5) / 1_000)]
# A whole number may be written 200.0, which is no int to msgspec.
_Whole = Annotated[float, Meta(multiple_of=1, ge=-(2.0**63), lt=2.0**63)]
_Status = Annotated[float, Meta(multiple_of=1, ge=0, le=599)]


class _Price(Struct, gc=False):
    timestamp: str
    commodity: _Text
    price: _Positive
    currency: Optional[str] = None
    unit: Optional[str] = None
    region: Optional[str] = None
    volume: Optional[_NotNegative] = None
    source: Optional[str] = None


class _Prediction(Struct, gc=False):
    ts: str
    model: _Text
    model_version: _Text
    prediction: _Sized
    inference_ms: _Millis
    confidence: Optional[_Share] = None
    actual: Optional[_Sized] = None
    correct: Optional[bool] = None
    error: Optional[str] = None
    commodity: Optional[str] = None
    trace_id: Optional[str] = None


class _Request(Struct, gc=False):
    ts: str
    service: _Text
    route: _Text
    method: _Text
    status: _Status
    duration_ms: _Millis
    bytes: Optional[_Whole] = None
    region: Optional[str] = None
    user_id: Optional[str] = None
    trace_id: Optional[str] = None


_price = msgspec.json.Decoder(_Price).decode
_prediction = msgspec.json.Decoder(_Prediction).decode
_request = msgspec.json.Decoder(_Request).decode


def _micros(text):
    """Microseconds since 1970, floored: msgspec's own times would be rounded."""
    return (parse_rfc3339(text) - _EPOCH) // _MICROSECOND


# Each gives the key of its row, the time in microseconds, the measured value in microseconds not yet rounded, and
# whether the event is a bad one.


def _of_price(payload, arrived_us):
    price = _price(payload)
    at_us = _micros(price.timestamp)
    age_us = max(arrived_us - at_us, 0)
    if age_us > HIGHEST_US:
        raise ValueError(age_us)
    dimensions = price.commodity, price.currency or "", price.unit or "", price.region or ""
    return SEPARATOR.join(("commodity-prices", *dimensions)), at_us, age_us, False


def _of_prediction(payload, _arrived_us):
    one = _prediction(payload)
    key = SEPARATOR.join(("ml-predictions", one.model, one.model_version))
    return key, _micros(one.ts), one.inference_ms * 1_000, one.error is not None


def _of_request(payload, _arrived_us):
    request = _request(payload)
    route, status = request.route, request.status
    if len(route) > _MAX_ROUTE_BYTES // 4 and len(route.encode()) > _MAX_ROUTE_BYTES:
        raise ValueError(route)
    key = SEPARATOR.join(("request-log", request.service, route, request.method.upper()))
    return key, _micros(request.ts), request.duration_ms * 1_000, status >= 500 or status in _FAILURES


_DECODERS = {"commodity-prices": _of_price, "ml-predictions": _of_prediction, "request-log": _of_request}
TOPICS = list(_DECODERS)


def decode(message):
    """An event, or ValueError (msgspec's errors are such) for a record that is none."""
    arrived_us = message.timestamp[1] * 1_000
    event = _DECODERS[message.topic](message.value, arrived_us)
    if event[1] > arrived_us + _MAX_AHEAD_US:
        raise ValueError(event[1])
    return event
