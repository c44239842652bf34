"""A small OpenAI-compatible server on loopback whose answers a test writes.

    def answer(request):                      # the JSON that was sent
        return "B"                            # a reply with this text
    with PromptServer(answer=answer) as server:
        ServerEngine("model", server.base_url, …)
    server.requests, server.paid, server.most_at_once

Besides text, the function may return `logprobs(...)`, a `Reply` (a status, headers, raw bytes, a body cut short, a
connection closed, a pause), or a whole reply as a dict.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """Any reply.

    Attributes:
        body: what is sent: text, or what becomes JSON.
        status: of the reply.
        headers: besides type and length.
        pause: seconds before it is sent.
        cut: leave out the second half of the body, and close the connection.
        closed: close the connection without a reply.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    cut: bool = False
    closed: bool = False


def chat(content: str | None, **choice: Any) -> dict[str, Any]:
    """Return a chat completion: what a server sends."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 100, "completion_tokens": 3}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}], "usage": usage}


def logprobs(*tokens: str | tuple[str, Mapping[str, float]], content: str | None = None) -> dict[str, Any]:
    """Return a chat completion of tokens: each its text, or its text and the probability of each alternative."""
    entries = []
    for token in tokens:
        text, options = (token, {token: 1.0}) if isinstance(token, str) else token
        top = [{"token": other, "logprob": math.log(p) if p else -9999.0} for other, p in options.items()]
        entries.append({"token": text, "logprob": math.log(options.get(text) or 1e-9), "top_logprobs": top})
    text = "".join(entry["token"] for entry in entries)
    return chat(text if content is None else content, logprobs={"content": entries})


def error(status: int, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error as OpenAI says it."""
    return Reply({"error": {"message": message, "param": param}}, status, headers or {})


def refusing(*parameters: str, otherwise: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Return an answer of a server that does not know some parameters, and says so of the first it meets."""

    def answer(request: dict[str, Any]) -> Any:
        for name in parameters:
            if name in request:
                return error(400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name)
        return otherwise(request)

    return answer


def in_turn(*answers: Any) -> Callable[[dict[str, Any]], Any]:
    """Return an answer that gives one after the other, the last one for ever."""
    left, lock = list(answers), threading.Lock()

    def answer(request: dict[str, Any]) -> Any:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return answer


class PromptServer:
    """The server. It runs while the `with` block does.

    Attributes:
        base_url: its address.
        requests: what was sent, as JSON, in the order of arrival.
        headers: the headers of each request.
        paid: the requests that were answered with status 200, in full.
        most_at_once: the most requests that were being answered at the same time.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Any] | str = "A", *, pause: float = 0.0) -> None:
        self.answer = (lambda request: answer) if isinstance(answer, str) else answer
        self.pause = pause  # seconds before each answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paid: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def users(self) -> list[str]:
        """Return the user's part of each request."""
        return [user(request) for request in self.requests]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = json.loads(data)
        with self._lock:
            self.requests.append(request)
            self.headers.append(dict(handler.headers.items()))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if handler.path != "/v1/chat/completions":
                reply = Reply("<html>Not found</html>", 404)
            else:
                reply = _as_reply(self.answer(request))
            time.sleep(self.pause + reply.pause)
        finally:
            with self._lock:
                self._at_once -= 1  # before the reply is sent: the next request may come at once
        if reply.status == 200 and not (reply.cut or reply.closed):
            with self._lock:
                self.paid.append(request)
        _send(handler, reply)


def user(request: Mapping[str, Any]) -> str:
    """Return the user's part of a request."""
    messages: Sequence[Mapping[str, str]] = request["messages"]
    return messages[-1]["content"]


def _as_reply(answer: Any) -> Reply:
    if isinstance(answer, Reply):
        return answer
    return Reply(chat(answer) if answer is None or isinstance(answer, str) else answer)


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    body = reply.body if isinstance(reply.body, bytes) else _encoded(reply.body)
    handler.close_connection = reply.cut or reply.closed
    if reply.closed:
        return
    with contextlib.suppress(OSError):  # whoever asked is gone
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if reply.cut else body)


def _encoded(body: Any) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode()
