"""Getting one JSON reply from an OpenAI-compatible server, whatever happens on the way.

What may pass is tried again, with growing pauses: busy servers, dropped connections, time-outs, broken replies. What
will not pass ends at once, in one line. Neither the key nor the document ever gets into that line.
"""

from __future__ import annotations

import email.utils
import json
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any
from urllib.parse import urlsplit

from hclf._version import __version__
from hclf.errors import HclfError, MissingExtraError, UsageError
from hclf.scorers.prompt.base import Usage

try:
    import urllib3
    from urllib3 import exceptions
except ImportError as error:
    raise MissingExtraError("scorer 'prompt' with a server", "prompt") from error

KEYS = {"HCLF_API_KEY": "", "OPENAI_API_KEY": "openai.com"}
"""Variables that may hold a key, and whose hosts it is sent to; "": any. Saved models name servers: a model from
somewhere else must not carry off a key that everyone has set."""
PASSING = (408, 409, 425, 429)  # statuses that may pass, besides those from 500 on
LONGEST_PAUSE = 60.0  # seconds, also when the server asks for more
LARGEST = 32 << 20  # bytes of a reply
LONG = 2_000  # characters of a server's message that are read
SHORT = 200  # and shown
UNWANTED = re.compile(
    r"content[ _-]?(?:filter|management|policy|policies)|usage policy|usage policies|moderation"
    r"|(?:prompt|input|content|request)s?\b.{,40}\bflagged",
    re.I,
)
SHARED = 12  # characters in a row that a message may have in common with the document


class RefusedError(Exception):
    """The server does not take a request as it is (400 or 422); `message`: what it says, without what is private."""

    def __init__(self, text: str, message: str) -> None:
        self.message = message
        super().__init__(text)


class UnwantedError(Exception):
    """The server's filter of contents does not let this document through; it will let through others."""


class _PassingError(Exception):
    """A failure that may pass. `pause`: seconds that the server asks to wait; `away`: nothing answers there."""

    def __init__(self, what: str, *, pause: float = 0.0, away: bool = False) -> None:
        self.what, self.pause, self.away = what, pause, away
        super().__init__(what)


def check_base_url(url: str) -> str:
    """Return a server's address without a slash at the end.

    Raises:
        UsageError: it is not an http(s) address, or holds what does not belong there, such as a password.
    """
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # of a port that is no number
        usable = False
    if "@" in parts.netloc:
        raise UsageError("base_url holds a user or a password; a key goes into the environment, as HCLF_API_KEY")
    if not usable or parts.query or parts.fragment or not url.isascii() or any(c.isspace() for c in url):
        raise UsageError(f"base_url {url[:80]!r} is not a server's address; one looks like http://localhost:8080/v1")
    return url.rstrip("/")


def api_key(host: str) -> str:
    """Return the key for a host from the environment, "" if there is none.

    Raises:
        UsageError: it could not be sent.
    """
    given = [name for name, own in KEYS.items() if f".{host}".endswith(f".{own}" if own else "")]
    name = next((name for name in given if os.environ.get(name, "").strip()), "")
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"{name} holds spaces or characters that no key has: copy it again")
    return key


class Transport:
    """Requests to one server, at most so many at once over all threads."""

    def __init__(
        self, base_url: str, *, timeout: float, retries: int, concurrency: int, backoff: float, usage: Usage
    ) -> None:
        self.url = base_url
        self.host = urlsplit(base_url).netloc
        self.timeout, self.retries, self.backoff, self.usage = timeout, retries, backoff, usage
        self.reached = False  # whether the server ever sent a good reply
        self._room = threading.BoundedSemaphore(concurrency)
        self._pool = urllib3.PoolManager(
            maxsize=concurrency,
            retries=False,  # ours know what a retry costs
            timeout=urllib3.Timeout(connect=min(timeout, 10.0), read=timeout),
        )

    def chat(self, payload: Mapping[str, Any], *, private: str, stop: threading.Event) -> dict[str, Any]:
        """Return the server's reply to a chat completion.

        Args:
            payload: the request.
            private: text that must not appear in an error.
            stop: once it is set nothing more is sent.

        Raises:
            CancelledError: it was stopped.
            RefusedError: the server does not take the request as it is.
            UnwantedError: it does not take this document.
            HclfError: another failure that will not pass, or one that did not after all tries.
        """
        body = json.dumps(payload, ensure_ascii=True).encode()
        attempt = 0
        while True:
            try:
                with self._room:
                    if stop.is_set():
                        raise CancelledError
                    reply = self._once(body, private)
                self.reached = True
                return reply
            except _PassingError as passing:
                failure = passing
            if attempt >= self._tries_after(failure):
                raise HclfError(self._gave_up(failure, attempt + 1))
            stop.wait(self._pause(failure, attempt))
            attempt += 1
            self.usage.add(retries=1)

    def _tries_after(self, failure: _PassingError) -> int:
        """Return how often to try again: where nothing has answered yet, the address is probably wrong."""
        return min(self.retries, 1) if failure.away and not self.reached else self.retries

    def _pause(self, failure: _PassingError, attempt: int) -> float:
        """Return the seconds to wait: twice as long each time, and at random: not all threads at once."""
        grown = self.backoff * 2.0 ** min(attempt, 16) * random.uniform(0.5, 1.0)
        return min(LONGEST_PAUSE, max(grown, failure.pause))

    def _gave_up(self, failure: _PassingError, tries: int) -> str:
        if failure.away:
            return f"no server answers at {self.host} ({failure.what}): is it running, and is base_url right?"
        times = "once" if tries == 1 else f"{tries} times"
        return f"the server at {self.host} failed {times}, at last: {failure.what}; try again when it is well"

    # -- one request -------------------------------------------------------------------------------------------

    def _once(self, body: bytes, private: str) -> dict[str, Any]:
        key = api_key(urlsplit(self.url).hostname or "")
        status, headers, data = self._exchange(body, key)
        if 200 <= status < 300:
            return self._chat_reply(data, key, private)
        message = _message(data, key, private)
        if status in PASSING or status >= 500:
            raise _PassingError(f"status {status}{_said(message)}", pause=_retry_after(headers))
        text = f"the server at {self.host} answered {status}{_said(message)}: {self._next_step(status, headers)}"
        if status in (400, 403, 422) and UNWANTED.search(message):
            raise UnwantedError(text)
        raise RefusedError(text, message) if status in (400, 422) else HclfError(text)

    def _exchange(self, body: bytes, key: str) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/json", "User-Agent": f"hclf/{__version__}"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            response = self._pool.request(
                "POST",
                f"{self.url}/chat/completions",
                body=body,
                headers=headers,
                redirect=False,  # the key goes to the server that was named, and to no other
                preload_content=False,
            )
            return response.status, response.headers, self._read(response)
        except exceptions.NewConnectionError:  # refused, or no such host
            raise _PassingError("cannot connect", away=True) from None
        except exceptions.TimeoutError:
            raise _PassingError(f"no answer within {self.timeout:g} s") from None
        except (exceptions.HTTPError, OSError) as error:
            raise _PassingError(f"the connection broke ({type(error).__name__})") from None

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Return the body; what is sent byte by byte, or without an end, does not hold us for ever."""
        parts, size, last = [], 0, time.monotonic() + self.timeout
        try:
            while part := response.read1(1 << 16):
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise _PassingError(f"a reply of more than {LARGEST >> 20} MiB")
                if time.monotonic() > last:
                    raise _PassingError(f"the reply was not complete within {self.timeout:g} s")
        except BaseException:
            response.close()  # half read: the connection cannot be used again
            raise
        response.release_conn()
        return b"".join(parts)

    def _chat_reply(self, data: bytes, key: str, private: str) -> dict[str, Any]:
        """Return a reply that is one.

        Raises:
            _PassingError: it is cut off, no JSON, or an error that came with status 200.
        """
        try:
            reply = json.loads(data)
        except (ValueError, RecursionError):
            missing = "" if "/v1" in self.url else "; did you forget /v1 in base_url?"
            raise _PassingError(f"a reply that is not JSON{missing}") from None
        choices = reply.get("choices") if isinstance(reply, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise _PassingError(f"a reply without an answer{_said(_message(data, key, private))}")
        return dict(reply)

    def _next_step(self, status: int, headers: Mapping[str, str]) -> str:
        if status in (401, 403):
            return "set HCLF_API_KEY in the environment to a key that it knows"
        if status in (404, 405):
            missing = "" if "/v1" in self.url else ", and did you forget /v1 in base_url"
            return f"is the model's name right{missing}?"
        if 300 <= status < 400:
            where = urlsplit(headers.get("Location", "")).hostname or "another place"
            return f"it redirects to {_one_line(where)}, which is not followed: give the final address as base_url"
        if status == 402:
            return "is the account in credit?"
        if status == 413:
            return "the prompt is too long for it"
        return "it does not take such a request; are the model's name and the options right?"


# -- what a server says ----------------------------------------------------------------------------------------


def _said(message: str) -> str:
    shown = message if len(message) <= SHORT else f"{message[: SHORT - 1]}…"
    return f" ({shown})" if shown else ""


def _message(data: bytes, key: str, private: str) -> str:
    """Return the message of an error in one line, without the key and without what is private."""
    text = _error_text(data)
    if key:
        text = text.replace(key, "…")  # before it could be cut in two
    text = _one_line(text[: 2 * LONG])[:LONG]
    text = re.sub(r"\b(?:sk|pk|key|hf|gsk)[-_][\w*.-]{6,}", "…", text)  # servers repeat a wrong key, half masked
    text = re.sub(r"(?:\\+u[0-9a-fA-F]{4})+", "…", text)  # a document repeated as JSON inside JSON
    return _without(text, _one_line(private))


def _error_text(data: bytes) -> str:
    """Return the text of an error: OpenAI's {"error": {"message": …}}, FastAPI's {"detail": …}, or some other."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return "" if data.lstrip()[:1] == b"<" else data.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            param = said.get("param")
            said = said[name]
            if isinstance(said, dict) and said.get("message"):
                param, said = said.get("param"), said["message"]
            return f"{said} [{param}]" if isinstance(param, str) and param not in str(said) else str(said)
    return ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip()


def _without(text: str, private: str) -> str:
    """Return a text without the stretches that it shares with a private one."""
    kept, at = [], 0
    while at < len(text):
        end = at + SHARED
        if end > len(text) or text[at:end] not in private:
            kept.append(text[at])
            at += 1
            continue
        while end < len(text) and text[at : end + 1] in private:
            end += 1
        kept.append("…")
        at = end
    return "".join(kept)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a server asks to wait: given as such, or as a date; 0 if it does not say."""
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", said):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
