"""Several real servers behind the gateway: how much of a conversation's prefix is found again, and what a death costs.

The same conversations, each turn with all turns before it, are led three ways: on one server alone, on the replicas by
least load, and on the replicas by affinity. In each round all conversations ask once, in an order of the round, as
many at a time as there are replicas: people do not answer back at once, which alone would keep a conversation on the
engine that has just become free. Counts tokens, times nothing. Then one replica is killed while requests are under way:
whatever had sent no byte yet must be answered by another.

Whole answers only, so every request of the last part is one "that had not begun". Checks first that a server finds the
prefix of a conversation it has led, or all three figures would mean nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import aiohttp

from vortex.bench.measurement import CheckFailed
from vortex.bench.programs import Program, gateway, program
from vortex.bench.report import Report
from vortex.machine.python_program import python_module

ALONE, LEAST_LOADED, AFFINE = "one server", "least loaded", "affinity"
TOPICS = ("the printing press", "tides", "bread", "glaciers", "violins", "lighthouses", "bees", "compasses")
NOTES = 16  # lines that open a conversation: some 350 tokens, since servers keep whole chunks of a prompt
NOTE = "Note {line}: on day {day} we looked at {topic} again and wrote down the number {value}."
ASK = "And what else should one know about it, in one short sentence? That is question {turn}."
QUIET = {"LKN_LEDGER": "off", "LKN_CONTROLLER": "off", "LKN_MODE": "passthrough"}
PATH = "/v1/chat/completions"
BOUND = aiohttp.ClientTimeout(total=300)


@dataclass(slots=True)
class Heard:
    """What one way of leading the conversations gave."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    statuses: list[int] = field(default_factory=list)

    def add(self, status: int, body: Mapping[str, object]) -> None:
        self.statuses.append(status)
        usage = body.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens += usage["prompt_tokens"]
            self.cached_tokens += usage["prompt_tokens_details"]["cached_tokens"]

    @property
    def cached_share(self) -> float:
        return self.cached_tokens / max(self.prompt_tokens, 1)

    @property
    def lost(self) -> int:
        return sum(status != 200 for status in self.statuses)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who leads conversations, with what is the same for all of them."""

    session: aiohttp.ClientSession
    url: str
    model: str
    new_tokens: int
    heard: Heard

    async def ask(self, talk: Talk, gate: asyncio.Semaphore) -> None:
        """The next turn of a conversation. One that was refused or lost is over."""
        if talk.over:
            return
        body = {"model": self.model, "messages": talk.messages, "max_tokens": self.new_tokens, "temperature": 0}
        async with gate:
            try:
                async with self.session.post(self.url, json=body) as response:
                    answer = await response.json()
            except aiohttp.ClientError:
                self.heard.statuses.append(0)
                talk.over = True
                return
        self.heard.add(response.status, answer)
        talk.over = response.status != 200
        if not talk.over:
            talk.messages.append(answer["choices"][0]["message"])
            talk.messages.append({"role": "user", "content": ASK.format(turn=len(talk.messages) // 2 + 1)})


@dataclass(slots=True)
class Talk:
    """A conversation under way."""

    messages: list[dict[str, str]]
    over: bool = False


def opening(number: int) -> str:
    """How a conversation begins: with notes of its own, as one with a pasted text does."""
    topic = TOPICS[number % len(TOPICS)]
    lines = [
        NOTE.format(line=line, day=7 * line + number, topic=topic, value=(line + 3) * (number + 11))
        for line in range(NOTES)
    ]
    return "\n".join([f"My notes on {topic}:", *lines, "What do these notes say, in one sentence?"])


class ReplicasMeasurement:
    """serving: options of `vortex serve` that choose the model."""

    def __init__(self, serving: list[str], *, replicas: int, conversations: int, turns: int, new_tokens: int) -> None:
        self._command = python_module("vortex", "serve", "--port", "0", "--no-episodes", *serving)
        self._replicas = replicas
        self._conversations = conversations
        self._turns = turns
        self._new_tokens = new_tokens

    def check(self) -> None:
        """The second turn of a conversation finds its first in the server's cache."""
        with self._servers(1) as (server,):
            heard = asyncio.run(self._lead_all(server.url, Heard(), 1, turns=2))
        if heard.lost or not heard.cached_tokens:
            raise CheckFailed(f"a server found no prefix again ({heard.statuses}); nothing to compare")

    def measure(self) -> Report:
        found = {}
        with self._servers(1) as (server,):
            found[ALONE] = self._led(server.url)
        for name, variables in ((LEAST_LOADED, {"LKN_AFFINITY_BOUND": "0"}), (AFFINE, {})):
            with self._servers(self._replicas) as servers, self._before(servers, variables) as front:
                found[name] = self._led(front.url)
        return self._report(found, self._with_a_death())

    def _led(self, url: str) -> Heard:
        return asyncio.run(self._lead_all(url, Heard(), self._conversations, self._turns))

    def _with_a_death(self) -> Heard:
        with self._servers(self._replicas) as servers, self._before(servers, {}) as front:
            return asyncio.run(self._lead_and_kill(front.url, servers[-1]))

    @contextmanager
    def _servers(self, count: int) -> Iterator[list[Program]]:
        with ExitStack() as started:
            yield [started.enter_context(program(self._command)) for _ in range(count)]

    @contextmanager
    def _before(self, servers: list[Program], variables: Mapping[str, str]) -> Iterator[Program]:
        addresses = {"ENGINE_BASE_URL": ",".join(server.url for server in servers)}
        with program(gateway(), {**QUIET, **addresses, **variables}) as front:
            yield front

    async def _lead_all(self, url: str, heard: Heard, conversations: int, turns: int) -> Heard:
        async with aiohttp.ClientSession(timeout=BOUND) as session:
            models = await (await session.get(f"{url}/v1/models")).json()
            model = str(models["data"][0]["id"])
            asker = Asker(session, f"{url}{PATH}", model, self._new_tokens, heard)
            talks = [Talk([{"role": "user", "content": opening(number)}]) for number in range(conversations)]
            for turn in range(turns):
                order = random.Random(turn).sample(talks, len(talks))
                gate = asyncio.Semaphore(self._replicas)
                await asyncio.gather(*(asker.ask(talk, gate) for talk in order))
        return heard

    async def _lead_and_kill(self, url: str, victim: Program) -> Heard:
        """One replica dies when a third of all requests are answered, with others under way."""
        heard = Heard()
        everything = self._lead_all(url, heard, self._conversations, self._turns)
        talking = asyncio.create_task(everything)
        while len(heard.statuses) < self._conversations * self._turns // 3 and not talking.done():
            await asyncio.sleep(0.02)
        victim.kill()
        return await talking

    def _report(self, found: Mapping[str, Heard], after_death: Heard) -> Report:
        alone = found[ALONE].cached_share
        rows = [
            [name, str(heard.prompt_tokens), str(heard.cached_tokens), f"{heard.cached_share:.1%}",
             f"{heard.cached_share / alone:.1%}", str(heard.lost)]
            for name, heard in found.items()
        ]  # fmt: skip
        total = self._conversations * self._turns
        rows.append(["affinity, one replica killed", "", "", "", "", f"{after_death.lost} of {total}"])
        figures = {
            "replicas": self._replicas, "conversations": self._conversations, "turns": self._turns,
            **{f"{_key(name)}_cached_share": round(heard.cached_share, 4) for name, heard in found.items()},
            **{f"{_key(name)}_of_one_server": round(heard.cached_share / alone, 4) for name, heard in found.items()},
            "killed_answered": len(after_death.statuses) - after_death.lost, "killed_lost": after_death.lost,
        }  # fmt: skip
        columns = ("", "prompt tokens", "found again", "share", "of one server's", "lost requests")
        title = f"{self._conversations} conversations of {self._turns} turns on {self._replicas} replicas"
        bars = {name: 100 * heard.cached_share for name, heard in found.items()}
        return Report("replicas", title, columns, rows, figures, bars, "prompt tokens found again, %")


def _key(name: str) -> str:
    return name.replace(" ", "_")
