"""The engine that asks a server, against a real one on loopback."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from itertools import count

import numpy as np
import pytest
from prompt_server import PromptServer, Reply, chat, error, in_turn, logprobs, refusing, user

from hclf.errors import HclfError, UsageError
from hclf.scorers.prompt.base import Prompt
from hclf.scorers.prompt.engines import transport
from hclf.scorers.prompt.engines.cache import AnswerCache
from hclf.scorers.prompt.engines.server import ServerEngine
from hclf.scorers.prompt.engines.transport import api_key

CODES = ("A", "B", "C", "N")
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HCLF_API_KEY", "OPENAI_API_KEY", "HCLF_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def prompt(text: str = "a document", codes: tuple[str, ...] = CODES) -> Prompt:
    return Prompt("Choose.", text, codes)


def prompts(n: int) -> list[Prompt]:
    return [prompt(f"document {i}") for i in range(n)]


def engine_of(server: PromptServer, **options) -> ServerEngine:
    return ServerEngine("m", server.base_url, **{"cache": False, "backoff": 0.001, "timeout": 5} | options)


def ask_one(answer, codes=CODES, **options):
    """Return the probabilities by code, exclusive, and the engine."""
    with PromptServer(answer) as server:
        engine = engine_of(server, **options)
        (found,) = engine.ask([prompt(codes=codes)])
    return dict(zip(codes, found.probabilities.tolist(), strict=True)), found.exclusive, engine


def near(**likely):
    return pytest.approx({code: likely.get(code, 0.0) for code in CODES}, abs=1e-5)


# -- what is asked ---------------------------------------------------------------------------------------------


def test_a_request_says_what_is_wanted():
    with PromptServer("A") as server:
        engine_of(server, seed=7, max_tokens=9).ask([prompt()])
        (request,) = server.requests
    assert request["model"] == "m"
    assert request["messages"] == [
        {"role": "system", "content": "Choose."},
        {"role": "user", "content": "a document"},
    ]
    assert (request["temperature"], request["seed"], request["max_tokens"]) == (0.0, 7, 9)
    assert (request["logprobs"], request["top_logprobs"], request["stream"]) == (True, 20, False)
    listed = request["response_format"]["json_schema"]["schema"]["properties"]["codes"]
    assert listed["items"]["enum"] == list(CODES)
    assert listed["uniqueItems"]


def test_answers_come_in_order():
    with PromptServer(lambda request: Reply(chat("ABC"[int(user(request)[-1]) % 3]), pause=0.001)) as server:
        answers = engine_of(server).ask([prompt(f"document {i}") for i in range(9)])
    assert [int(answer.probabilities.argmax()) for answer in answers] == [0, 1, 2] * 3


def test_progress_is_shown():
    shown = []

    def progress(items, what, total):
        shown.append((what, total))
        return items

    with PromptServer("A") as server:
        assert len(engine_of(server).ask(prompts(3), progress)) == 3
        assert engine_of(server).ask([]) == []
    assert shown == [("asking", 3)]


# -- probabilities ---------------------------------------------------------------------------------------------


def test_one_code_alone_was_a_choice_among_all():
    answer = logprobs((" B", {" B": 0.5, "B": 0.1, " A": 0.2, "The": 0.15, "N": 0.05}))
    likely, exclusive, engine = ask_one(lambda request: answer)
    assert exclusive
    assert likely == near(B=0.6 / 0.85, A=0.2 / 0.85, N=0.05 / 0.85)
    assert (engine.usage.tokens_in, engine.usage.tokens_out) == (100, 3)


def test_in_a_list_each_code_has_its_highest_probability():
    answer = logprobs(
        '{"',
        "codes",
        '": ["',
        ("A", {"A": 0.6, "C": 0.3, "N": 0.1}),
        '", "',
        ("C", {"C": 0.9, "B": 0.06, "N": 0.04}),
        '"]}',
    )
    likely, exclusive, _ = ask_one(lambda request: answer)
    assert not exclusive
    assert likely == near(A=0.6, B=0.06, C=0.9, N=0.1)  # none counts only where the first code stands


def test_a_token_may_hold_quotes_and_brackets():
    answer = logprobs('{"codes":', (' ["B', {' ["B': 0.7, ' ["A': 0.2}), '"]}')
    assert ask_one(lambda request: answer)[0] == near(B=0.7, A=0.2)


def test_letters_in_sentences_are_not_answers():
    answer = logprobs(("A", {"A": 0.9, "C": 0.1}), " pair", "? Answer: ", ("B", {"B": 0.8, "C": 0.2}))
    assert ask_one(lambda request: answer)[0] == near(B=0.8, C=0.2)


def test_codes_of_several_tokens_are_followed():
    codes = ("01", "02", "11", "12", "13", "21", "22", "99")
    answer = logprobs(("1", {"1": 0.5, "2": 0.2, "02": 0.1, "9": 0.1}), ("2", {"2": 0.8, "1": 0.1, "3": 0.1}))
    likely, exclusive, _ = ask_one(lambda request: answer, codes)
    expected = {"02": 0.1, "11": 0.05, "12": 0.4, "13": 0.05, "21": 0.1, "22": 0.1, "99": 0.1}
    assert exclusive
    assert likely == pytest.approx({code: expected.get(code, 0.0) / 0.9 for code in codes}, abs=1e-5)


def test_thoughts_and_end_marks_are_no_answers():
    answer = logprobs(
        "<think>", ("A", {"A": 1.0}), "?</think>", "\n\n", ("B", {"B": 0.9, "A": 0.1}), "<|END|>", content="B"
    )
    likely, exclusive, _ = ask_one(lambda request: answer)
    assert exclusive
    assert likely == near(B=0.9, A=0.1)


def test_odd_log_probabilities_do_no_harm():
    reply = chat("B")
    reply["choices"][0]["logprobs"] = {
        "content": [
            {
                "token": "B",
                "logprob": -0.5,
                "top_logprobs": [{"token": "A", "logprob": None}, {"token": "C"}, 3, None],
            },
            "no token",
            {"token": None, "logprob": float("-inf"), "top_logprobs": None},
        ]
    }
    likely, exclusive, _ = ask_one(lambda request: reply)
    assert exclusive
    assert likely == near(B=1.0)


def test_numbers_beyond_all_measure_do_no_harm():
    reply = logprobs(("B", {"B": 0.5, "A": 0.25}))
    (entry,) = reply["choices"][0]["logprobs"]["content"]
    entry["top_logprobs"] += [{"token": "C", "logprob": number} for number in (10**400, -(10**400), True)]
    reply["usage"] = {"prompt_tokens": 10**400, "completion_tokens": -5}
    likely, _, engine = ask_one(lambda request: reply)
    assert likely["B"] > likely["A"] > 0
    assert 0 <= engine.usage.tokens_in < 100
    assert 0 <= engine.usage.tokens_out < 100


@pytest.mark.parametrize("content", ["B", '{"codes": ["B"]}'])
def test_tokens_of_another_text_are_not_trusted(content):
    likely, exclusive, _ = ask_one(lambda request: logprobs(("A", {"A": 1.0}), content=content))
    assert not exclusive
    assert likely == near(B=1.0)


def test_seven_may_stand_for_07():
    codes = ("07", "08", "99")
    likely, _, _ = ask_one(lambda request: logprobs(("7", {"7": 0.9, "8": 0.1})), codes)
    assert likely["07"] > 0.9


def test_text_is_read_where_there_are_no_log_probabilities():
    likely, exclusive, engine = ask_one("A, C")
    assert not exclusive
    assert likely == near(A=1, C=1)
    assert engine.usage.calls == 1


def test_votes_are_shares_of_samples():
    number = count()
    answer = ["A", "A, B", "A", "no idea"]
    likely, exclusive, engine = ask_one(lambda request: answer[next(number) % 4], answers="votes", samples=4)
    assert not exclusive
    assert likely == near(A=0.75, B=0.25)
    assert (engine.usage.calls, engine.usage.unreadable) == (4, 1)


def test_samples_differ_in_seed_and_are_warm():
    with PromptServer("A") as server:
        engine_of(server, answers="votes", samples=3, seed=5).ask([prompt()])
        assert [(r["seed"], r["temperature"], "logprobs" in r) for r in server.requests] == [
            (5, 1.0, False),
            (6, 1.0, False),
            (7, 1.0, False),
        ]


def test_auto_votes_where_there_are_no_log_probabilities_and_asks_for_them_once():
    with PromptServer("A") as server:
        engine = engine_of(server, samples=3)
        engine.ask(prompts(4))
        assert sum("logprobs" in request for request in server.requests) == 1
        assert len(server.requests) == 1 + 4 * 3


def test_auto_needs_no_votes_where_there_are_log_probabilities():
    with PromptServer(lambda request: logprobs(("A", {"A": 0.9, "B": 0.1}))) as server:
        engine_of(server, samples=3).ask(prompts(4))
        assert len(server.requests) == 4


def test_text_asks_once_and_for_no_log_probabilities():
    with PromptServer("A") as server:
        engine_of(server, answers="text", samples=3).ask([prompt()])
        (request,) = server.requests
    assert "logprobs" not in request
    assert request["temperature"] == 0.0


def test_log_probabilities_that_must_be_are_missed():
    with PromptServer("A") as server:
        engine = engine_of(server, answers="logprobs", samples=3)
        for _ in range(2):
            with pytest.raises(HclfError, match="gives no log-probabilities: use answers 'votes' or 'text'"):
                engine.ask([prompt()])


@pytest.mark.parametrize("answers", ["auto", "logprobs", "text"])
@pytest.mark.parametrize("content", [None, "", "I am sorry, I cannot do that.", "<think>what?", [], 3])
def test_no_code_means_nothing_is_known(answers, content):
    reply = chat(content, logprobs={"content": [{"token": "x", "logprob": 0.0, "top_logprobs": []}]})
    likely, exclusive, engine = ask_one(lambda request: reply, answers=answers)
    assert likely == near()
    assert not exclusive
    assert engine.usage.unreadable == 1


def test_codes_that_were_not_offered_are_counted():
    likely, _, engine = ask_one('{"codes": ["A", "Z", "Shoes"]}')
    assert likely == near(A=1)
    assert (engine.usage.invented, engine.usage.unreadable) == (2, 0)


def test_a_message_may_come_in_parts():
    reply = chat("")
    reply["choices"][0]["message"]["content"] = [{"type": "text", "text": "Answer: "}, {"type": "text", "text": "B"}]
    assert ask_one(lambda request: reply)[0] == near(B=1)


def test_tokens_and_cost():
    reply = chat("AAAA A")
    del reply["usage"]
    _, _, engine = ask_one(lambda request: reply, price=(3.0, 4e6))
    assert engine.tokens(prompt()) == 5  # 17 characters
    assert (engine.usage.tokens_in, engine.usage.tokens_out) == (5, 2)
    assert engine.cost == pytest.approx(5 * 3e-6 + 2 * 4)
    assert ask_one("A")[2].cost is None


# -- what servers do not know ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("response_format",),
        ("logprobs",),
        ("top_logprobs",),
        ("seed",),
        ("temperature",),
        ("max_tokens",),
        ("max_tokens", "max_completion_tokens"),
        ("response_format", "logprobs", "seed", "temperature", "max_tokens"),
    ],
)
def test_what_a_server_does_not_know_is_left_out_and_remembered(names):
    with PromptServer(refusing(*names, otherwise=lambda request: "B")) as server:
        engine = engine_of(server)
        answers = engine.ask(prompts(10))
        assert len(server.paid) == 10
        assert len(server.requests) - 10 == engine.usage.retries <= 2 * len(names)  # log-probabilities: 20, then 5
        engine.ask(prompts(3))
        assert len(server.requests) == 13 + engine.usage.retries
    assert all(answer.probabilities.tolist() == [0, 1, 0, 0] for answer in answers)
    assert not any(name in server.requests[-1] for name in names)
    if names == ("max_tokens",):
        assert server.requests[-1]["max_completion_tokens"] == 256


def test_a_schema_may_do_without_unique_items():
    def answer(request):
        if "uniqueItems" in str(request["response_format"]):
            return error(422, "Invalid schema: 'uniqueItems' is not permitted.")
        return "B"

    with PromptServer(answer) as server:
        engine_of(server).ask([prompt()])
        assert "response_format" in server.requests[-1]
        assert "uniqueItems" not in str(server.requests[-1])


def test_five_alternatives_are_better_than_none():
    def answer(request):
        if request.get("top_logprobs", 0) > 5:
            return error(400, "Requested sample logprobs of 20, which is greater than max allowed: 5")
        return logprobs(("B", {"B": 0.9, "A": 0.1}))

    likely, exclusive, _ = ask_one(answer)
    assert exclusive
    assert likely == near(B=0.9, A=0.1)


def test_too_long_a_prompt_is_no_objection_to_a_parameter():
    said = "This model's maximum context length is 4096 tokens; reduce the messages or max_tokens."
    with PromptServer(lambda request: error(400, said)) as server:
        with pytest.raises(HclfError, match=r"400.*maximum context length"):
            engine_of(server).ask([prompt()])
        assert len(server.requests) == 1


# -- failures that pass ----------------------------------------------------------------------------------------

BROKEN = {
    "busy": error(429, "slow down"),
    "overloaded": error(503, "overloaded"),
    "internal": Reply("<html>oops</html>", 500),
    "timeout": error(408, "too slow"),
    "conflict": error(409, "locked"),
    "early": error(425, "too early"),
    "closed": Reply(closed=True),
    "cut": Reply(chat("A"), cut=True),
    "html": Reply("<html>hello</html>"),
    "half": Reply('{"choices": [{"mess'),
    "list": Reply("[1, 2]"),
    "empty": Reply(""),
    "no choices": Reply({"choices": []}),
    "error as 200": Reply({"error": {"message": "rate limited", "code": 429}}),
    "deep": Reply("[" * 100_000),
    "bytes": Reply(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_may_pass_is_tried_again(name):
    with PromptServer(in_turn(BROKEN[name], BROKEN[name], "B")) as server:
        engine = engine_of(server, retries=2)
        (answer,) = engine.ask([prompt()])
        assert answer.probabilities.tolist() == [0, 1, 0, 0]
        assert (engine.usage.retries, engine.usage.calls, len(server.requests)) == (2, 1, 3)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_does_not_pass_is_said_in_one_line(name):
    with PromptServer(lambda request: BROKEN[name]) as server:
        with pytest.raises(HclfError, match=r"^the server at 127\.0\.0\.1:\d+ failed 3 times, at last: ") as caught:
            engine_of(server, retries=2).ask(prompts(3))
        assert len(server.requests) == 3  # one after the other until the first reply
    assert "\n" not in str(caught.value)


def test_a_slow_reply_is_given_up():
    with PromptServer(in_turn(Reply(chat("A"), pause=1.0), "B")) as server:
        engine = engine_of(server, timeout=0.1)
        (answer,) = engine.ask([prompt()])
    assert answer.probabilities.tolist() == [0, 1, 0, 0]
    assert engine.usage.retries == 1


def test_a_reply_that_drips_is_given_up():
    listener = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(200):
                connection.sendall(b" ")
                time.sleep(0.02)

    dripping = threading.Thread(target=drip)
    dripping.start()
    engine = ServerEngine(
        "m", f"http://127.0.0.1:{listener.getsockname()[1]}/v1", cache=False, timeout=0.2, retries=0
    )
    began = time.monotonic()
    with pytest.raises(HclfError, match="not complete within"):
        engine.ask([prompt()])
    assert time.monotonic() - began < 2
    dripping.join()
    listener.close()


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured_and_capped(monkeypatch, as_date):
    slept = []
    after = [email.utils.formatdate(time.time() + s, usegmt=True) if as_date else str(s) for s in (20, 9_999_999)]
    busy = [error(429, "busy", headers={"Retry-After": value}) for value in after]
    answer = in_turn(*busy, error(429, "busy", headers={"Retry-After": "soon"}), "A")
    engine = ServerEngine("m", "http://127.0.0.1:1/v1", cache=False, backoff=0.5)

    def exchange(body, key):
        reply = answer({})
        if isinstance(reply, str):
            return 200, {}, json.dumps(chat(reply)).encode()
        return reply.status, reply.headers, json.dumps(reply.body).encode()

    pause = engine._transport._pause
    monkeypatch.setattr(engine._transport, "_exchange", exchange)
    monkeypatch.setattr(engine._transport, "_pause", lambda *args: slept.append(pause(*args)) or 0.0)
    engine.ask([prompt()])
    assert slept[0] == pytest.approx(20, abs=2)
    assert slept[1] == transport.LONGEST_PAUSE
    assert 1 <= slept[2] <= 2  # the third pause of back-off: between half of 0.5 * 2 ** 2 and all of it


def test_retry_after_over_the_wire():
    with PromptServer(in_turn(error(429, "busy", headers={"Retry-After": "0.2"}), "A")) as server:
        began = time.monotonic()
        engine_of(server).ask([prompt()])
        assert time.monotonic() - began >= 0.2


def test_nobody_there_is_said_soon():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(HclfError, match=f"no server answers at 127.0.0.1:{port} .*is it running"):
        ServerEngine("m", f"http://127.0.0.1:{port}/v1", cache=False, retries=50).ask(prompts(20))
    assert time.monotonic() - began < 2


# -- failures that do not pass ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (400, "are the model's name and the options right"),
        (401, "set HCLF_API_KEY"),
        (402, "in credit"),
        (403, "set HCLF_API_KEY"),
        (404, "is the model's name right"),
        (413, "too long"),
        (422, "are the model's name and the options right"),
    ],
)
def test_what_will_not_pass_ends_at_once(status, step):
    with PromptServer(lambda request: error(status, "It is\nso.")) as server:
        with pytest.raises(
            HclfError, match=rf"^the server at 127\.0\.0\.1:\d+ answered {status} \(It is so\.\): .*{step}"
        ):
            engine_of(server).ask(prompts(5))
        assert len(server.requests) == 1


def test_a_forgotten_v1_is_guessed():
    with (
        PromptServer("A") as server,
        pytest.raises(HclfError, match=r"404: is the model's name right, and did you forget /v1"),
    ):
        ServerEngine("m", server.base_url.removesuffix("/v1"), cache=False).ask([prompt()])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "The response was filtered due to the prompt triggering the content management policy."),
        (400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy."),
        (403, "The model requires moderation and your input was flagged for violence."),
    ],
)
def test_a_filter_of_contents_stops_one_document_and_not_the_run(tmp_path, status, said):
    with PromptServer(lambda r: error(status, said) if user(r).endswith("1") else "A") as server:
        engine = engine_of(server, cache=tmp_path / "c.sqlite")
        answers = engine.ask(prompts(3))
        assert [answer.probabilities[0] for answer in answers] == [1, 0, 1]
        assert (engine.usage.unreadable, engine.usage.calls) == (1, 2)
        assert len(AnswerCache(tmp_path / "c.sqlite")) == 2  # a filter may change its mind


def test_an_account_that_was_flagged_ends_the_run():
    with PromptServer(lambda request: error(403, "Your account was flagged.")) as server:
        with pytest.raises(HclfError, match="403"):
            engine_of(server).ask(prompts(3))
        assert len(server.requests) == 1


def test_neither_key_nor_document_is_shown(monkeypatch):
    monkeypatch.setenv("HCLF_API_KEY", KEY)
    document = "Mrs Example, born 1950, has\nhypertension and gout."
    echo = "'Mrs Example, born 1950, has hypertension'"
    said = f"Incorrect key {KEY} (sk-proj-****abcd)\nin\x1b[31m request {echo} {'x ' * 500}"
    for status in (401, 400, 500):
        with PromptServer(lambda request, status=status: error(status, said)) as server:
            with pytest.raises(HclfError) as caught:
                engine_of(server, retries=0).ask([prompt(document)])
            assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        text = str(caught.value)
        assert "Incorrect key" in text
        assert not any(word in text for word in (KEY, "abcd", "Example", "1950", "hypertension", "\n", "\x1b"))
        assert len(text) < 400


def test_a_key_or_a_document_is_found_wherever_it_stands(monkeypatch):
    key = "abcdefghijklmnopqrstuvwxyz" * 4  # like no key that is known
    monkeypatch.setenv("HCLF_API_KEY", key)
    document = "Наталья Примерова, 1950 года рождения, подагра. " * 20
    for length in range(0, 2_500, 100):
        said = f"bad {'y ' * (length // 2)}{json.dumps(document)[:length]} {document} {key} {key}"
        with (
            PromptServer(lambda request, said=said: error(401, said)) as server,
            pytest.raises(HclfError) as caught,
        ):
            engine_of(server).ask([prompt(document)])
        assert not any(word in str(caught.value) for word in (key[:8], "Пример", "\\u04", "рожд"))


def test_the_key_is_read_for_each_request_and_kept_nowhere(monkeypatch, tmp_path):
    path = tmp_path / "cache.sqlite"
    with PromptServer("A") as server:
        engine = engine_of(server, cache=path)
        engine.ask([prompt("one")])
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        engine.ask([prompt("two")])
        monkeypatch.setenv("HCLF_API_KEY", f" {KEY}\n")
        engine.ask([prompt("three")])
        # That of OpenAI is for OpenAI: the address may come from a saved model of someone else.
        assert [headers.get("Authorization") for headers in server.headers] == [None, None, f"Bearer {KEY}"]
    assert KEY not in repr(vars(engine)) + repr(vars(engine._transport))
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("host", "key"),
    [("api.openai.com", "sk-other"), ("openai.com", "sk-other"), ("notopenai.com", ""), ("openai.com.evil.org", "")],
)
def test_the_key_of_openai_goes_to_openai_alone(monkeypatch, host, key):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    assert api_key(host) == key
    monkeypatch.setenv("HCLF_API_KEY", KEY)
    assert api_key(host) == KEY


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch):
    monkeypatch.setenv("HCLF_API_KEY", "sk-one\nX-Evil: sk-two")
    with PromptServer("A") as server:
        with pytest.raises(UsageError, match="HCLF_API_KEY holds") as caught:
            engine_of(server).ask([prompt()])
        assert not server.requests
    assert "sk-" not in str(caught.value)


def test_redirects_are_not_followed(monkeypatch):
    monkeypatch.setenv("HCLF_API_KEY", KEY)
    with PromptServer("A") as other:
        away = Reply("", 307, {"Location": f"{other.base_url}/chat/completions"})
        with PromptServer(lambda request: away) as server, pytest.raises(HclfError, match="307: it redirects to 127"):
            engine_of(server).ask([prompt()])
        assert not other.requests


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://host/v1",
        "file:///etc",
        "http://",
        "http://h:x/v1",
        "http://h/v1?key=1",
        "http://h h/v1",
    ],
)
def test_addresses_are_checked(url):
    with pytest.raises(UsageError, match="one looks like http"):
        ServerEngine("m", url, cache=False)


def test_an_address_holds_no_password():
    with pytest.raises(UsageError, match="HCLF_API_KEY") as caught:
        ServerEngine("m", "http://me:secret@host/v1", cache=False)
    assert "secret" not in str(caught.value)


def test_the_environment_names_another_server(monkeypatch):
    with PromptServer("A") as server:
        monkeypatch.setenv("HCLF_BASE_URL", f"{server.base_url}/")
        engine = ServerEngine("m", "http://elsewhere.invalid/v1", cache=False)
        engine.ask([prompt()])
        assert len(server.paid) == 1
    assert engine.base_url == server.base_url


@pytest.mark.parametrize(
    "options",
    [
        {"answers": "words"},
        {"samples": 0},
        {"retries": -1},
        {"concurrency": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_tokens": 0},
        {"temperature": -1},
        {"price": (1, -1)},
        {"price": (1,)},
        {"answers": "votes"},
        {"answers": "votes", "samples": 3, "temperature": 0},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(UsageError):
        ServerEngine("m", "http://127.0.0.1:1/v1", cache=False, **options)


def test_a_missing_library_is_named():
    code = """
import sys
sys.modules["urllib3"] = None
from hclf.errors import MissingExtraError
try:
    import hclf.scorers.prompt.engines.server
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "scorer 'prompt' with a server" in done.stdout
    assert "hclf[prompt]" in done.stdout


# -- many at once ----------------------------------------------------------------------------------------------


def test_the_limit_holds_over_all_threads():
    with PromptServer("A", pause=0.01) as server:
        engine = engine_of(server, concurrency=3)
        threads = [
            threading.Thread(target=engine.ask, args=([prompt(f"{t} {i}") for i in range(8)],)) for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.paid) == 32
        assert server.most_at_once == 3


def test_the_same_prompt_at_once_is_paid_once(tmp_path):
    with PromptServer("A", pause=0.02) as server:
        engine = engine_of(server, cache=tmp_path / "c.sqlite")
        engine.ask([prompt("first")])
        engine.ask([prompt("same")] * 8)
        assert len(server.paid) == 2
    assert (engine.usage.calls, engine.usage.cached) == (2, 7)


# -- again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["logprobs", "votes", "text"])
def test_a_repeated_run_needs_no_server_and_says_the_same(tmp_path, kind):
    def answer(request):
        if kind == "logprobs":
            return logprobs('{"codes": ["', ("B", {"B": 0.123456789, "C": 0.3}), '"]}')
        return "ABC"[request["seed"] % 3]

    options = {"cache": tmp_path / "c.sqlite", "answers": kind, "samples": 3}
    with PromptServer(refusing("response_format", otherwise=answer)) as server:
        first = engine_of(server, **options).ask(prompts(5))
        url = server.base_url
    engine = ServerEngine("m", url, **options)
    again = engine.ask(prompts(5))
    assert [a.probabilities.tolist() for a in first] == [a.probabilities.tolist() for a in again]
    assert (engine.usage.calls, engine.usage.cached) == (0, 15 if kind == "votes" else 5)
    assert engine.usage.tokens_in == 0


def test_whatever_changes_the_answer_is_asked_anew(tmp_path):
    with PromptServer("A") as server:
        base = {"cache": tmp_path / "c.sqlite"}
        for options in ({}, {"seed": 1}, {"temperature": 0.5}, {"max_tokens": 5}, {"answers": "text"}):
            engine_of(server, **base, **options).ask([prompt()])
        ServerEngine("other", server.base_url, **base).ask([prompt()])
        engine_of(server, **base).ask([prompt("other"), prompt(codes=("A", "N"))])
        assert len(server.paid) == 8
        with PromptServer("A") as elsewhere:
            engine_of(elsewhere, **base).ask([prompt()])
            assert len(elsewhere.paid) == 1
        engine_of(server, **base, retries=1, concurrency=2, timeout=9).ask([prompt()])
        assert len(server.paid) == 8


def test_no_document_is_in_the_cache(tmp_path):
    with PromptServer("A") as server:
        engine_of(server, cache=tmp_path / "c.sqlite").ask([prompt("Mrs Example has gout")])
    assert not any(b"Example" in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("kind", [chat, logprobs])
def test_what_a_model_repeats_is_not_in_the_cache(tmp_path, kind):
    with PromptServer(lambda request: kind("Mrs Example has gout. Answer: A")) as server:
        engine = engine_of(server, cache=tmp_path / "c.sqlite")
        assert engine.ask([prompt()])[0].probabilities[0] == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "c.sqlite")) as database:
        ((value,),) = database.execute("SELECT value FROM answers")
    assert json.loads(value)["codes"] == ["A"]
    assert not any(b"Example" in file.read_bytes() for file in tmp_path.iterdir())


RUN = """
import sys
from hclf.scorers.prompt.base import Prompt
from hclf.scorers.prompt.engines.server import ServerEngine
url, cache, n = sys.argv[1:]
engine = ServerEngine("m", url, cache=cache, concurrency=2, timeout=30)
prompts = [Prompt("Choose.", f"document {i}", ("A", "B", "C", "N")) for i in range(int(n))]
answers = engine.ask(prompts)
print(engine.usage.calls, engine.usage.cached, sum(a.probabilities[0] for a in answers))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_run_that_was_stopped_goes_on_without_paying_twice(tmp_path, how):
    path = tmp_path / "c.sqlite"
    stopped, waiting = threading.Event(), threading.Semaphore(0)
    number, lock = count(1), threading.Lock()

    def answer(request):
        with lock:
            n = next(number)
        if n > 10 and not stopped.is_set():  # ten answers are given, then nothing until the run is stopped
            waiting.release()
            stopped.wait(30)
            return Reply(closed=True)
        return "A"

    with PromptServer(answer) as server:
        command = [sys.executable, "-c", RUN, server.base_url, str(path), "20"]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in range(2):  # both threads wait for an answer: all ten before are in the cache
            assert waiting.acquire(timeout=30)
        began = time.monotonic()
        os.kill(run.pid, how)
        _, said = run.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert run.returncode != 0
        assert ("KeyboardInterrupt" in said) == (how == signal.SIGINT)
        assert len(AnswerCache(path)) == 10
        stopped.set()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.stdout.split() == ["10", "10", "20.0"], done.stderr
        paid = [user(request) for request in server.paid]
        assert sorted(paid) == sorted(f"document {i}" for i in range(20))


@pytest.mark.slow
def test_processes_share_what_was_answered(tmp_path):
    with PromptServer("A") as server:
        command = [sys.executable, "-c", RUN, server.base_url, str(tmp_path / "c.sqlite")]
        for n, said in (("4", ["4", "0"]), ("6", ["2", "4"])):
            done = subprocess.run([*command, n], capture_output=True, text=True, timeout=60)
            assert done.stdout.split()[:2] == said, done.stderr


def test_after_an_error_nothing_more_is_asked_and_the_rest_is_kept(tmp_path):
    def answer(request):
        return error(404, "gone") if user(request).endswith("5") else "A"

    with PromptServer(answer) as server:
        with pytest.raises(HclfError, match="404"):
            engine_of(server, cache=tmp_path / "c.sqlite", concurrency=1).ask(prompts(20))
        assert len(server.paid) == 5
        assert len(AnswerCache(tmp_path / "c.sqlite")) == 5


def test_after_an_error_retries_and_votes_end_too():
    refused = threading.Event()

    def answer(request):
        if user(request) == "document 1":  # is tried again, for ever
            return error(503, "busy") if "document 2" in map(user, server.requests) else "A"
        if user(request) == "document 2":
            refused.set()
            return error(404, "gone")
        return "A"

    with PromptServer(answer) as server:
        engine = engine_of(server, concurrency=2, retries=10_000, answers="votes", samples=50, backoff=0.01)
        with pytest.raises(HclfError, match="404"):
            engine.ask(prompts(3))
        assert refused.is_set()
        time.sleep(0.1)  # what is under way ends
        asked = len(server.requests)
        time.sleep(0.2)
        assert len(server.requests) == asked


def test_answers_are_plain_numbers():
    with PromptServer("A") as server:
        (answer,) = engine_of(server).ask([prompt()])
    assert answer.probabilities.dtype == np.float64
    assert answer.probabilities.shape == (4,)
