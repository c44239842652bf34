"""An engine that asks an OpenAI-compatible server: llama.cpp, vLLM, Ollama, or a hosted one.

Probabilities come from log-probabilities where the server gives them, else from votes, else they are 0 and 1.

What a server does not know (a JSON schema, log-probabilities, a seed, …) it refuses once; the engine then leaves it
out and remembers. Answers are kept under what was *meant* to be asked, so that a run that is repeated finds them
without a server. Until the first reply prompts are asked one after the other: a wrong address or key costs one
request, not one a thread.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hclf.errors import HclfError, UsageError
from hclf.scorers.base import Progress, silent
from hclf.scorers.prompt.base import Answer, Prompt, Usage
from hclf.scorers.prompt.engines import tokens as token_probabilities
from hclf.scorers.prompt.engines.cache import AnswerCache, Value, default_path, key_of
from hclf.scorers.prompt.engines.transport import RefusedError, Transport, UnwantedError, check_base_url
from hclf.scorers.prompt.reading import read_codes

Answers = Literal["auto", "logprobs", "votes", "text"]
TOP = 20  # alternatives of each token: the most that OpenAI and vLLM give
FEWER = 5  # what more servers give
VOTING = 1.0  # temperature of votes: there the share of a code is its probability under the model
CHARACTERS = 4  # of a token, about
READING = 1  # to be raised when answers are read in another way: what is kept of them is what was read
UNREADABLE: Value = {"codes": [], "invented": 0, "logprobs": False, "likely": None, "exclusive": False}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What optional parts of a request a server takes, as far as it is known."""

    unique: bool = True
    schema: bool = True
    top: int = TOP
    limit: Literal["max_tokens", "max_completion_tokens", ""] = "max_tokens"
    seed: bool = True
    temperature: bool = True

    def without(self, message: str) -> Accepted | None:
        """Return what is left when the server objects in these words; None if they are about none of it."""
        said = message.lower()
        if any(words in said for words in ("context length", "context_length", "context size", "maximum context")):
            return None  # too long a prompt; such messages name max_tokens, too
        if self.unique and "uniqueitems" in said:
            return replace(self, unique=False)
        if self.schema and any(
            word in said for word in ("response_format", "schema", "grammar", "guided", "structured")
        ):
            return replace(self, schema=False)
        if self.top and "logprobs" in said:
            return replace(self, top=FEWER if self.top > FEWER else 0)
        if self.limit and ("max_tokens" in said or "max_completion_tokens" in said):
            return replace(self, limit="max_completion_tokens" if self.limit == "max_tokens" else "")
        if self.seed and "seed" in said:
            return replace(self, seed=False)
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        return None


class ServerEngine:
    """Answers prompts by asking a server.

    The key is read from the environment for each request: HCLF_API_KEY, else OPENAI_API_KEY for a host of
    OpenAI's, else none is sent.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        answers: Answers = "auto",
        samples: int = 1,
        temperature: float | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        concurrency: int = 8,
        max_tokens: int = 256,
        cache: str | Path | bool | None = None,
        price: Sequence[float] | None = None,
        seed: int = 0,
        backoff: float = 0.5,
    ) -> None:
        """Make an engine; nothing is asked yet.

        Args:
            model: the name by which the server knows it.
            base_url: such as http://localhost:8080/v1; HCLF_BASE_URL in the environment goes before it.
            answers: "logprobs": probabilities from the alternatives of the answered tokens. "votes": the share of
                `samples` answers that hold a code. "text": 0 and 1 from one answer. "auto": log-probabilities if the
                server's reply has them, else votes if `samples` > 1, else text.
            samples: answers to each prompt where they are votes, at least 1; more than 1 for "votes".
            temperature: at least 0; None: 0, and 1 for votes.
            timeout: seconds for a reply to begin, and again to end, more than 0.
            retries: how often a request is repeated after a failure that may pass, at least 0.
            concurrency: requests at once, over all threads that use the engine, at least 1.
            max_tokens: longest answer, at least 1; models that think before they answer need thousands.
            cache: file of answers; None or True: the usual one; False: none.
            price: of a million tokens (read, written), each at least 0, for `cost`; in any currency.
            seed: of the server's sampling; sample i is asked for with seed + i.
            backoff: seconds of the first pause before a retry, doubled each time, at least 0.

        Raises:
            UsageError: a value out of its range, or no address of a server.
            MissingExtraError: urllib3 is not installed.
            HclfError: the cache cannot be used.
        """
        self.model, self.answers, self.samples = model, answers, samples
        self.base_url = check_base_url(os.environ.get("HCLF_BASE_URL") or base_url)
        self.concurrency, self.max_tokens, self.seed, self.price = concurrency, max_tokens, seed, price
        self.temperature = temperature
        self._check(timeout, retries, backoff)
        self.usage = Usage()
        self._transport = Transport(
            self.base_url,
            timeout=timeout,
            retries=retries,
            concurrency=concurrency,
            backoff=backoff,
            usage=self.usage,
        )
        self._cache = AnswerCache(default_path() if cache is None or cache is True else cache or None)
        self._accepted = Accepted()
        self._no_logprobs = False  # whether a reply came without, although they were asked for

    def _check(self, timeout: float, retries: int, backoff: float) -> None:
        if self.answers not in get_args(Answers):
            raise UsageError(f"answers is one of {', '.join(get_args(Answers))}, not {self.answers!r}")
        for name, value, least in (
            ("samples", self.samples, 1),
            ("retries", retries, 0),
            ("concurrency", self.concurrency, 1),
            ("max_tokens", self.max_tokens, 1),
            ("backoff", backoff, 0),
            ("temperature", self.temperature or 0, 0),
            *(("price", value, 0) for value in self.price or ()),
        ):
            if not value >= least:
                raise UsageError(f"{name} is at least {least}, not {value}")
        if not 0 < timeout < math.inf:
            raise UsageError(f"timeout is a number of seconds above 0, not {timeout}")
        if self.price is not None and len(self.price) != 2:
            raise UsageError(f"price is two numbers, for what is read and what is written, not {len(self.price)}")
        if self.answers == "votes" and (self.samples == 1 or self.temperature == 0):
            raise UsageError("votes need several samples (such as 5) and a temperature above 0")

    @property
    def cost(self) -> float | None:
        """What the tokens so far cost, in the currency of `price`; None without one. What was cached cost nothing."""
        if self.price is None:
            return None
        return (self.usage.tokens_in * self.price[0] + self.usage.tokens_out * self.price[1]) / 1e6

    def tokens(self, prompt: Prompt) -> int:
        """Return about how many tokens a prompt has: a quarter of its characters."""
        return math.ceil((len(prompt.system) + len(prompt.user)) / CHARACTERS)

    def ask(self, prompts: Sequence[Prompt], progress: Progress = silent) -> list[Answer]:
        """Return an answer to each prompt, in order.

        A reply without a code (a refusal, nothing at all, a filter of contents) is counted, and all its
        probabilities are 0, also that of none: nothing is known.

        Raises:
            HclfError: the server cannot be asked. What was answered before is in the cache, also after Ctrl-C.
        """
        work = self._in_order(prompts)
        try:
            return list(progress(work, "asking", len(prompts)))
        finally:
            work.close()  # whatever happened: nothing more is asked

    def _in_order(self, prompts: Sequence[Prompt]) -> Generator[Answer, None, None]:
        """Yield the answers: one thread asks until the server has replied for the first time, then several do.

        They are daemons, unlike those of a pool: after Ctrl-C nothing waits for replies under way.
        """
        todo, lock, stop = iter(enumerate(prompts)), threading.Lock(), threading.Event()
        done: queue.SimpleQueue[tuple[int, Answer | Exception]] = queue.SimpleQueue()

        def work() -> None:
            while not stop.is_set():
                with lock:
                    number, prompt = next(todo, (-1, None))
                if prompt is None:
                    return
                try:
                    done.put((number, self._answer(prompt, stop)))
                except Exception as error:  # is raised where answers are waited for
                    done.put((number, error))
                    stop.set()

        early: dict[int, Answer] = {}
        threads = 0
        try:
            for wanted in range(len(prompts)):
                while wanted not in early:
                    for _ in range(threads, min(self.concurrency, len(prompts)) if self._transport.reached else 1):
                        threading.Thread(target=work, name="hclf-ask", daemon=True).start()
                        threads += 1
                    number, answer = done.get()
                    if isinstance(answer, Exception):
                        raise answer
                    early[number] = answer
                yield early.pop(wanted)
        finally:
            stop.set()

    # -- one prompt --------------------------------------------------------------------------------------------

    def _answer(self, prompt: Prompt, stop: threading.Event) -> Answer:
        if self.answers == "logprobs" or (self.answers == "auto" and not (self._no_logprobs and self.samples > 1)):
            value = self._sample(prompt, stop, logprobs=True)
            self._no_logprobs |= bool(value["codes"]) and not value["logprobs"]
            if value["logprobs"] or self.samples == 1 or self.answers == "logprobs":
                return self._weigh(prompt, value)
        samples = 1 if self.answers == "text" else self.samples
        values = [self._sample(prompt, stop, number, logprobs=False) for number in range(samples)]
        return self._count(prompt, values)

    def _weigh(self, prompt: Prompt, value: Value) -> Answer:
        """Return what the log-probabilities of a reply say, else its text."""
        if value["likely"] is None:
            return self._count(prompt, [value])
        self.usage.add(invented=value["invented"])
        return Answer(np.array(value["likely"], dtype=np.float64), value["exclusive"])

    def _count(self, prompt: Prompt, values: Sequence[Value]) -> Answer:
        """Return the share of the replies that hold each code; what could not be read holds none of them."""
        for value in values:
            self.usage.add(unreadable=not value["codes"], invented=value["invented"])
        held = [[code in value["codes"] for code in prompt.codes] for value in values]
        return Answer(np.mean(np.array(held, dtype=np.float64), axis=0), exclusive=False)

    # -- one request -------------------------------------------------------------------------------------------

    def _sample(self, prompt: Prompt, stop: threading.Event, sample: int = 0, *, logprobs: bool) -> Value:
        """Return what was read in an answer, from the cache or the server; see `_value`."""
        meant = self._meant(prompt, sample, logprobs=logprobs)
        server = self.base_url.partition("://")[2]
        key = key_of(server=server, codes=prompt.codes, sample=sample, reading=READING, **meant)
        try:
            value, cached = self._cache.fetch(key, lambda: self._request(prompt, meant, stop))
        except UnwantedError:  # one document is no reason to end a run; nor is this an answer to be kept
            return UNREADABLE
        self.usage.add(cached=cached)
        return value

    def _meant(self, prompt: Prompt, sample: int, *, logprobs: bool) -> dict[str, Any]:
        """Return what a request would be if the server took everything."""
        voting = not logprobs and self.answers != "text" and self.samples > 1
        usual = VOTING if voting else 0.0
        return {
            "model": self.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "temperature": usual if self.temperature is None else self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed + sample,
            "logprobs": logprobs,
        }

    def _request(self, prompt: Prompt, meant: dict[str, Any], stop: threading.Event) -> Value:
        """Ask the server, and leave out what it objects to until it answers."""
        while True:
            accepted = self._accepted
            try:
                payload = _payload(meant, prompt.codes, accepted)
                return self._value(prompt, self._transport.chat(payload, private=prompt.user, stop=stop))
            except RefusedError as refused:
                less = accepted.without(refused.message)
                if less is None:
                    raise HclfError(str(refused)) from None
                if self._accepted is accepted:  # else another thread was told the same
                    self._accepted = less
                self.usage.add(retries=1)

    def _value(self, prompt: Prompt, reply: dict[str, Any]) -> Value:
        """Count a reply and return what was read in it, which is all that is kept: none of its words.

        codes, invented: as in a `Reading`.
        logprobs: whether there were any.
        likely: the probability of each code after them, or None.
        exclusive: the answer is one code and nothing else. That was a choice among all codes, and their
            probabilities are normalised; in a list each code stands for itself.
        """
        choice = reply["choices"][0]
        message = choice.get("message")
        content = _text(message.get("content") if isinstance(message, dict) else choice.get("text"))
        used = reply.get("usage")
        used = used if isinstance(used, dict) else {}
        self.usage.add(
            calls=1,
            tokens_in=_tokens(used.get("prompt_tokens"), self.tokens(prompt)),
            tokens_out=_tokens(used.get("completion_tokens"), math.ceil(len(content) / CHARACTERS)),
        )
        logprobs = choice.get("logprobs")
        entries = logprobs.get("content") if isinstance(logprobs, dict) else None
        entries = entries if isinstance(entries, list) else []
        if content and not entries and self.answers == "logprobs":
            host = self._transport.host
            raise HclfError(f"the server at {host} gives no log-probabilities: use answers 'votes' or 'text'")
        reading = read_codes(content, prompt.codes)
        found = token_probabilities.probabilities(entries, content, reading, prompt.codes)
        likely = None if found is None else [found[code] for code in prompt.codes]
        exclusive = likely is not None and token_probabilities.is_one_code(content) and sum(likely) > 0
        return {
            "codes": list(reading.chosen),
            "invented": reading.invented,
            "logprobs": bool(entries),
            "likely": [p / sum(likely) for p in likely] if likely and exclusive else likely,
            "exclusive": exclusive,
        }


def _payload(meant: dict[str, Any], codes: Sequence[str], accepted: Accepted) -> dict[str, Any]:
    """Return a request without what the server does not take."""
    payload = {"model": meant["model"], "messages": meant["messages"], "stream": False}
    if accepted.limit:
        payload[accepted.limit] = meant["max_tokens"]
    if accepted.temperature:
        payload["temperature"] = meant["temperature"]
    if accepted.seed:
        payload["seed"] = meant["seed"]
    if meant["logprobs"] and accepted.top:
        payload |= {"logprobs": True, "top_logprobs": accepted.top}
    if accepted.schema:
        payload["response_format"] = _schema(codes, unique=accepted.unique)
    return payload


def _schema(codes: Sequence[str], *, unique: bool) -> dict[str, Any]:
    """Return what constrains an answer to {"codes": […]} with some of the codes."""
    listed: dict[str, Any] = {
        "type": "array",
        "items": {"type": "string", "enum": list(codes)},
        "minItems": 1,
        "maxItems": len(codes),
    }
    if unique:
        listed["uniqueItems"] = True
    schema = {"type": "object", "properties": {"codes": listed}, "required": ["codes"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "codes", "schema": schema}}


def _text(content: Any) -> str:
    """Return a message's text: it may be null, or come in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _tokens(said: Any, otherwise: int) -> int:
    """Return a count of tokens as a server says it, if it can be one."""
    return said if isinstance(said, int) and 0 <= said < 2**31 else otherwise
