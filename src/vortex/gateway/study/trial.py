"""Runs tasks on an engine in both modes and keeps what each cost and whether it was right.

Greedy, so that a run can be repeated. FLUIDO runs carry log-probabilities: their entropies are what a probe would have
seen. Does not do: judge; that is `calibrate.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from vortex.errors import BackendError
from vortex.gateway import intervene, rules
from vortex.gateway.entropy import entropies_of
from vortex.gateway.http.client import HttpClient, UpstreamFailure
from vortex.gateway.settings import GatewaySettings
from vortex.gateway.study.tasks import Task

TRAJECTORY_TOKENS = 64
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """One task in both modes. `entropies`: of the first tokens of the FLUIDO answer, () where there are none."""

    task: Task
    rule_score: float
    entropies: tuple[float, ...]
    right_fluido: bool
    right_analitico: bool
    tokens_fluido: int
    tokens_analitico: int


async def run_trials(
    settings: GatewaySettings,
    tasks: Sequence[Task],
    *,
    max_tokens: int,
    parallel: int,
    on_done: Callable[[int], None],
) -> list[Trial]:
    """In the order of the tasks. Raises BackendError where the engine fails."""
    client = HttpClient(settings.addresses.engine_urls[0], connect_timeout_s=settings.timeouts.connect_timeout_s)
    places = asyncio.Semaphore(parallel)
    done = 0

    async def one(task: Task) -> Trial:
        nonlocal done
        async with places:
            trial = await _trial(settings, client, task, max_tokens)
        done += 1
        on_done(done)
        return trial

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one(task)) for task in tasks]
        return [task.result() for task in running]
    except* (UpstreamFailure, BackendError) as errors:
        raise BackendError(f"the engine failed during calibration: {errors.exceptions[0]}") from None
    finally:
        client.close()


async def _trial(settings: GatewaySettings, client: HttpClient, task: Task, max_tokens: int) -> Trial:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": task.prompt}], "temperature": 0}
    if settings.addresses.engine_model:
        body["model"] = settings.addresses.engine_model
    body["max_tokens"] = max_tokens
    plain = await _ask(settings, client, intervene.with_logprobs(body, settings.decision.probe_top_k))
    careful = await _ask(settings, client, intervene.analytic(body, settings.action))
    return Trial(
        task=task,
        rule_score=rules.score(task.prompt, settings.decision.max_tokens_fluido).score,
        entropies=tuple((entropies_of(plain["choices"][0]) or [])[:TRAJECTORY_TOKENS]),
        right_fluido=task.right(_said(plain)),
        right_analitico=task.right(_said(careful)),
        tokens_fluido=_tokens(plain),
        tokens_analitico=_tokens(careful),
    )


async def _ask(settings: GatewaySettings, client: HttpClient, body: dict[str, Any]) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    if key := settings.addresses.engine_api_key:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    response = await client.send(b"POST", b"/v1/chat/completions", headers, orjson.dumps(body))
    try:
        timeout_s = settings.timeouts.total_timeout_s
        if not await response.head(asyncio.get_running_loop().time() + timeout_s):
            raise BackendError(f"no answer within {timeout_s:g} s")
        raw = await response.read_all(timeout_s, ANSWER_LIMIT_BYTES)
        value = orjson.loads(raw) if raw[:1] == b"{" else {}
        if response.status != 200 or not value.get("choices"):
            raise BackendError(f"status {response.status}: {raw[:200].decode(errors='replace')}")
        return dict(value)
    finally:
        response.close()


def _said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0].get("message", {}).get("content") or "")


def _tokens(answer: dict[str, Any]) -> int:
    return int((answer.get("usage") or {}).get("completion_tokens") or 0)
