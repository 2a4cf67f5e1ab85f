"""The way of one chat request through the gateway.

    examine → rules → (sure?) → admit → open → (unsure: hold, decide, maybe start anew) → relay → book
                                         whole answers that are unsure: ask a few tokens beforehand

The decision itself is in `decision.py`; here is only the order of things and who hears of them.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import orjson

from vortex.errors import Overloaded
from vortex.gateway import endings, intervene
from vortex.gateway.booking import Booking, Books
from vortex.gateway.decision import Decision, Evidence, Mode, decide, threshold_in_force, wants_entropy
from vortex.gateway.dispatch import Call, Dispatcher, EngineAway, Exchange
from vortex.gateway.entropy import entropies_of, settled
from vortex.gateway.examine import Facts, examine
from vortex.gateway.http.client import UpstreamFailure
from vortex.gateway.http.wire import EVENT_STREAM, JSON, KeepAlive, Reply, Request
from vortex.gateway.job import Job
from vortex.gateway.rules import score
from vortex.gateway.settings import GatewaySettings
from vortex.gateway.stream import Clocks, Event, EventReader, relay
from vortex.gateway.upstreams import Route

CORS_PREFIX = b"access-control-"  # who may read an answer is this gateway's to say, not the engine's
ANSWER_LIMIT_BYTES = 256 * 1024 * 1024
HOP_HEADERS = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"content-length",
        b"date",
        b"server",
        b"set-cookie",
        b"upgrade",
    )
)


class ChatService:
    def __init__(self, settings: GatewaySettings, dispatcher: Dispatcher, books: Books) -> None:
        self._settings = settings
        self._policy = settings.decision
        self._times = settings.timeouts
        self._dispatcher = dispatcher
        self._books = books

    async def serve(self, request: Request, reply: Reply, parsed: dict[str, Any] | None) -> None:
        """Answer one request, whatever happens. Raises CancelledError only: the client left."""
        job = self._begin(request, reply, parsed)
        admission = self._books.admission
        try:
            await admission.enter(low_priority=bool(job.facts.task))
            try:
                await (self._stream(job) if job.facts.stream else self._whole(job))
            finally:
                admission.leave()
        except Overloaded as error:
            job.booking.outcome = "shed"
            endings.shed(job, error)
        except EngineAway as error:
            job.booking.outcome = "breaker_open"
            endings.engine_away(job, error)
        except UpstreamFailure as error:
            job.booking.outcome, job.booking.error = "failed", str(error)
            endings.engine_failed(job, error)
        except asyncio.CancelledError:
            job.booking.outcome = "client_gone"
            raise
        finally:
            self._books.close(job.booking, job.evidence, job.decision or decide(job.evidence, self._policy))

    def _begin(self, request: Request, reply: Reply, parsed: dict[str, Any] | None) -> Job:
        loop = asyncio.get_running_loop()
        if parsed is None or "messages" not in parsed:
            stream = parsed is not None and parsed.get("stream") is True
            facts = Facts(stream=stream, task="", exempt="not_chat", text="", conversation="", turns=0)
        else:
            facts = examine(parsed, request.headers, immunity=self._policy.immunity)
        evidence, booking = Evidence(exempt=facts.exempt), self._books.open(request, facts)
        if not facts.exempt and self._policy.mode != "passthrough":
            rules = score(facts.text, self._policy.max_tokens_fluido)
            evidence = Evidence(
                rule_score=rules.score,
                signs=rules.signs,
                prompt_tokens=rules.prompt_tokens,
                prior_mode=self._books.prior_mode(booking),
                threshold_offset=self._books.homeostat.state.threshold_offset,
            )
        total_at = loop.time() + self._times.total_timeout_s
        comfort = KeepAlive(reply, self._times.keepalive_s if facts.stream else math.inf, request.arrived)
        job = Job(request, reply, parsed, facts, evidence, total_at, booking, comfort)
        comfort.label = job.label
        return job

    # --- streams ---

    async def _stream(self, job: Job) -> None:
        unsure = wants_entropy(job.evidence, self._policy)
        if unsure and not (self._policy.probe == "stream" and self._policy.escalation):
            await self._probe(job)
            unsure = False
        held: list[Event] = []
        if unsure:
            assert job.parsed is not None, "only chat is unsure"
            body = orjson.dumps(intervene.with_logprobs(job.parsed, self._policy.probe_top_k))
        else:
            body = self._decided_body(job)
        exchange = await self._open(job, body)
        try:
            if await self._not_a_stream(job, exchange):
                return
            reader = EventReader(exchange, self._clocks(job), careful=unsure)
            if unsure:
                held = await self._hold(job, reader)
                if job.decision is not None and job.decision.mode is Mode.ANALITICO:
                    exchange.leave()
                    job.booking.escalated, unsure, held = True, False, []
                    exchange = await self._open(job, self._decided_body(job))
                    if await self._not_a_stream(job, exchange):
                        return
                    reader = EventReader(exchange, self._clocks(job), careful=False)
            job.booking.progress = reader.progress
            if not held:
                held = await reader.events()  # nothing is sent before the engine has said something
            self._books.first_token(job.booking)
            await self._start_stream(job)
            failure = await relay(reader, held, job.reply, strip=unsure)
            self._settle(job, exchange, failure)
        except UpstreamFailure as error:
            exchange.fail(str(error))
            raise
        finally:
            exchange.leave()

    async def _hold(self, job: Job, reader: EventReader) -> list[Event]:
        """Keep events back until the decision is certain. Sets the evidence and the decision."""
        policy, progress = self._policy, reader.progress
        threshold = threshold_in_force(policy.entropy_threshold, job.evidence, policy)
        held: list[Event] = []
        while True:
            events = await reader.events()
            self._books.first_token(job.booking)
            held += events
            over = not events or progress.done or bool(progress.finish_reason) or progress.error is not None
            if over or progress.thinking or progress.blind:
                break
            if progress.entropies and settled(policy.statistic, progress.entropies, policy.hold_tokens, threshold):
                break
        failed = "thinking" if progress.thinking else "no_logprobs"
        entropies = None if progress.thinking else tuple(progress.entropies[: policy.hold_tokens]) or None
        job.evidence = replace(job.evidence, entropies=entropies, probe_failed="" if entropies else failed)
        self._decide(job)
        return held

    async def _start_stream(self, job: Job) -> None:
        """The head of a stream; where a keep-alive had to send it before the decision, a comment tells the mode."""
        if not job.reply.started:
            job.reply.start(200, [*EVENT_STREAM, *job.label()])
        elif job.decision is not None:
            comment = f": lkn mode={job.decision.mode} reason={job.decision.reason}\n\n"
            await job.reply.write(comment.encode())

    async def _not_a_stream(self, job: Job, exchange: Exchange) -> bool:
        """An error, or a whole answer where a stream was asked for: handed on as it is."""
        if exchange.error_body is None and exchange.response.header(b"content-type").startswith(b"text/event-stream"):
            return False
        await self._forward_whole(job, exchange)
        return True

    # --- whole answers ---

    async def _whole(self, job: Job) -> None:
        if wants_entropy(job.evidence, self._policy):
            await self._probe(job)
        exchange = await self._open(job, self._decided_body(job))
        try:
            await self._forward_whole(job, exchange)
        except UpstreamFailure as error:
            exchange.fail(str(error))
            raise
        finally:
            exchange.leave()

    async def _forward_whole(self, job: Job, exchange: Exchange) -> None:
        response, status = exchange.response, exchange.response.status
        body = exchange.error_body
        if body is None:
            left = job.total_at - asyncio.get_running_loop().time()
            body = await response.read_all(left, ANSWER_LIMIT_BYTES)
            self._books.first_token(job.booking)
            if response.header(b"content-type").startswith(b"application/json"):
                status = _checked(body, job.booking)
        self._settle(job, exchange, "" if status < 500 else f"the engine answered {status}")
        if exchange.loading:
            job.booking.outcome = "loading"
        headers = [(name, value) for name, value in response.headers if _is_passed_on(name)]
        if status == 503 and not response.header(b"retry-after"):
            headers.append((b"retry-after", b"5"))
        if job.reply.started:
            raise UpstreamFailure("protocol", f"the engine answered {status} instead of a stream")
        job.reply.whole(status, [*headers, *job.label()], body)

    async def _probe(self, job: Job) -> None:
        """Ask a few tokens beforehand. Whatever goes wrong means FLUIDO, never an error."""
        assert job.parsed is not None, "only chat is unsure"
        policy = self._policy
        tokens = 1 if policy.statistic == "first" else policy.hold_tokens
        body = orjson.dumps(intervene.probe_of(job.parsed, policy.probe_top_k, tokens))
        entropies, failed, exchange = None, "", None
        try:
            async with asyncio.timeout(policy.probe_timeout_s):
                exchange = await self._open(job, body)
                raw = exchange.error_body or await exchange.response.read_all(
                    policy.probe_timeout_s, ANSWER_LIMIT_BYTES
                )
                choices = orjson.loads(raw).get("choices") or [{}]
                entropies = entropies_of(choices[0])
                failed = "" if entropies else "no_logprobs"
                exchange.succeed()
        except TimeoutError:
            failed = "timeout"
        except (UpstreamFailure, EngineAway, orjson.JSONDecodeError, AttributeError, TypeError) as error:
            failed = error.kind if isinstance(error, UpstreamFailure) else "broken_answer"
        finally:
            if exchange is not None:
                exchange.leave()
        job.evidence = replace(job.evidence, entropies=tuple(entropies) if entropies else None, probe_failed=failed)

    # --- small steps ---

    def _decide(self, job: Job) -> Decision:
        job.decision = decide(job.evidence, self._policy)
        self._books.decided(job.booking, job.decision)
        return job.decision

    def _decided_body(self, job: Job) -> bytes:
        """FLUIDO: the client's own bytes. ANALITICO: the request that asks for care."""
        decision = job.decision or self._decide(job)
        if decision.mode is Mode.FLUIDO or job.parsed is None:
            return job.request.body
        return orjson.dumps(
            intervene.analytic(job.parsed, self._settings.action, self._books.homeostat.state.budget_factor)
        )

    async def _open(self, job: Job, body: bytes) -> Exchange:
        request, now = job.request, asyncio.get_running_loop().time()
        left = job.total_at - now
        head_s = min(self._times.first_token_timeout_s, left) if job.facts.stream else left
        self._books.sent(job.booking)
        content_type = JSON[1] if job.parsed is not None else request.headers.get(b"content-type", JSON[1])
        method = request.method.encode()
        call = Call(method, request.target, content_type, body, head_s, job.total_at, job.comfort, _route(job))
        exchange = await self._dispatcher.open(call)
        job.booking.upstream = exchange.upstream.name
        return exchange

    def _clocks(self, job: Job) -> Clocks:
        first = asyncio.get_running_loop().time() + self._times.first_token_timeout_s
        return Clocks(first, job.total_at, self._times.gap_timeout_s, job.comfort)

    def _settle(self, job: Job, exchange: Exchange, failure: str) -> None:
        if failure:
            exchange.fail(failure)
            job.booking.outcome, job.booking.error = "failed", failure
        else:
            exchange.succeed()
            job.booking.outcome = "ok" if exchange.response.status < 400 else "refused"


def _route(job: Job) -> Route:
    model = (job.parsed or {}).get("model")
    return Route(model if isinstance(model, str) else "", job.facts.conversation)


def _checked(body: bytes, booking: Booking) -> int:
    """The status a whole JSON answer deserves: 200, or 502 when it says it failed. Raises UpstreamFailure."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamFailure("protocol", f"broken JSON: {error}") from None
    if not isinstance(value, dict):
        return 200
    usage = value.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else 0
    booking.tokens = counted if isinstance(counted, int) else 0
    return 502 if value.get("error") and not value.get("choices") else 200


def _is_passed_on(name: bytes) -> bool:
    return name not in HOP_HEADERS and not name.startswith(CORS_PREFIX)
