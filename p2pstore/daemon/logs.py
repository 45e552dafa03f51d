"""Logs for machines: one JSON object a line, and an id for each request of a local client, on every line it causes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

from p2pstore.control.faults import fault_of
from p2pstore.control.server import Call, Op
from p2pstore.seams.clock import Clock

log = logging.getLogger("p2pstore.requests")

_REQUEST: Final[ContextVar[str]] = ContextVar("request", default="")
"""Tasks started for a request inherit it."""


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "message"}`, and "request", "error" and further figures where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := _REQUEST.get():
            line["request"] = request
        line |= getattr(record, "figures", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def logged(handlers: Mapping[str, Op], clock: Clock) -> dict[str, Op]:
    """The same operations; each request gets an id and a line at its end. Arguments are not logged: they are names."""
    numbers = count(1)

    def wrapped(name: str, op: Op) -> Op:
        async def request(call: Call) -> Any:
            token = _REQUEST.set(f"r{next(numbers)}")
            began_s = clock.now_s()
            ended = "cancelled"
            try:
                result = await op(call)
                ended = "ok"
            except Exception as error:
                ended = fault_of(error).code
                raise
            else:
                return result
            finally:
                took_ms = round((clock.now_s() - began_s) * 1000, 1)
                log.info("%s: %s", name, ended, extra={"figures": {"operation": name, "ended": ended, "ms": took_ms}})
                _REQUEST.reset(token)

        return request

    return {name: wrapped(name, op) for name, op in handlers.items()}
