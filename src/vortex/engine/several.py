"""Several models behind one door: the request's `model` decides, each is opened when it is first asked for.

Promises: a model that is answering is never closed for another; the weights of all that are open stay within the
budget, the least recently used idle one leaving first; two requests for one model open it once; a model that cannot be
opened fails the requests for it and no others; what is idle for longer than the time to live is closed. One that does
not fit beside those that are answering waits for them, for a while, then is refused with the sizes.
Counts weights alone: KV caches and the process come on top. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from vortex.engine.counting import counter_of
from vortex.errors import BackendError, Overloaded, RequestError, UnknownModel, VortexError
from vortex.protocols import ChatBackend
from vortex.types import BackendStatus, ChatEvent, ChatRequest, Embeddings, ModelCard, ModelPlace, ModelState

LOOK_EVERY_S = 5.0  # for what has been idle too long

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that may be asked for. size_bytes: memory of its weights once it is open."""

    card: ModelCard
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralOptions:
    """budget_bytes: for the weights of all open models. ttl_s: idle time after which one is closed; 0: never.
    wait_s: how long a request waits for room."""

    budget_bytes: int
    ttl_s: float = 0.0
    wait_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What can be had, asked anew every time. open: slow, raises VortexError. owner_of: the model that an adapter's
    name belongs to, None for a name that nobody knows."""

    offers: Callable[[], Sequence[Offer]]
    open: Callable[[str], ChatBackend]
    owner_of: Callable[[str], str | None] = lambda _: None


@dataclass(eq=False, slots=True)
class _Place:
    """backend None: being opened, or `error` says why it was not."""

    offer: Offer
    backend: ChatBackend | None = None
    error: VortexError | None = None
    active: int = 0
    waiting: int = 0
    used_s: float = field(default_factory=time.monotonic)

    @property
    def is_idle(self) -> bool:
        return self.backend is not None and not self.active and not self.waiting


class SeveralModels:
    """A `vortex.protocols.ChatBackend` and `ManagesModels`. Owns all backends and closes them.

    first: the model that answers requests without a name, open already.
    """

    def __init__(self, first: Offer, backend: ChatBackend, shelf: Shelf, options: SeveralOptions) -> None:
        self._default = first.card.name
        self._shelf = shelf
        self._options = options
        self._places = {self._default: _Place(first, backend)}
        self._first = first
        self._failures: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._counters = {"model_loads": 0.0, "model_evictions": 0.0, "model_failures": 0.0, "model_load_ms": 0.0}

    async def models(self) -> Sequence[ModelCard]:
        """The first, open ones with their adapters, then what else may be asked for."""
        cards: dict[str, ModelCard] = {self._default: self._first.card}
        for place in list(self._places.values()):
            if place.backend is not None:
                cards |= {card.name: card for card in await place.backend.models()}
        for offer in await asyncio.to_thread(self._all_offers):
            cards.setdefault(offer.card.name, offer.card)
        return list(cards.values())

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        """Raises what the model's backend raises, UnknownModel, Overloaded, BackendError where it cannot be opened."""
        async with self._using(request.model) as backend, aclosing(_events(backend, request)) as events:
            async for event in events:
                yield event

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        async with self._using(model) as backend:
            return await backend.embed(texts, model)

    async def prompt_token_ids(self, request: ChatRequest) -> Sequence[int]:
        """As `TokenCounter` says, by the model that is named."""
        async with self._using(request.model) as backend:
            return await counter_of(backend).prompt_token_ids(request)

    async def tokenize(self, text: str, *, special: bool = False, model: str | None = None) -> Sequence[int]:
        async with self._using(model) as backend:
            return await counter_of(backend).tokenize(text, special=special, model=model)

    async def detokenize(self, token_ids: Sequence[int], model: str | None = None) -> str:
        async with self._using(model) as backend:
            return await counter_of(backend).detokenize(token_ids, model)

    async def status(self) -> BackendStatus:
        """Sums over the open models; ready while any may answer."""
        open_ones = [place.backend for place in self._places.values() if place.backend is not None]
        statuses = [await backend.status() for backend in open_ones]
        counters = dict(self._counters)
        for status in statuses:
            for name, value in status.counters.items():
                counters[name] = counters.get(name, 0.0) + value
        counters["models_open"], counters["models_bytes"] = float(len(open_ones)), float(self._used_bytes())
        return BackendStatus(
            ready=not self._closing and all(status.ready for status in statuses),
            active=sum(status.active for status in statuses),
            queued=sum(status.queued for status in statuses),
            counters=counters,
        )

    async def places(self) -> Sequence[ModelPlace]:
        """As `ManagesModels` says."""
        found = []
        for offer in await asyncio.to_thread(self._all_offers):
            name, place = offer.card.name, self._places.get(offer.card.name)
            state = ModelState.FAILED if name in self._failures else ModelState.AVAILABLE
            if place is not None:
                state = ModelState.OPENING if place.backend is None else ModelState.OPEN
            found.append(
                ModelPlace(
                    name=name,
                    state=state,
                    size_bytes=offer.size_bytes,
                    active=place.active if place else 0,
                    idle_s=time.monotonic() - place.used_s if place and place.is_idle else None,
                    error=self._failures.get(name),
                )
            )
        return found

    async def unload(self, name: str) -> None:
        """As `ManagesModels` says."""
        async with self._changed:
            place = self._places.get(name)
            if place is None:
                raise UnknownModel(f"the model {name!r} is not open; GET /v1/models lists what is")
            if not place.is_idle:
                raise RequestError(f"{name} is answering; try again when it is idle", param="model", code="model_busy")
            del self._places[name]
            self._changed.notify_all()
        await _closed(place)

    async def close(self) -> None:
        async with self._changed:
            self._closing = True
            self._changed.notify_all()
        for task in list(self._tasks):
            if task.get_name() == "idle":
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for place in list(self._places.values()):
            await _closed(place)
        self._places.clear()

    # --- one request's way to its model ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _using(self, name: str | None) -> AsyncGenerator[ChatBackend, None]:
        offer = await self._offer_of(name)
        place = await self._taken(offer)
        try:
            assert place.backend is not None, "a place that is taken is open"
            yield place.backend
        finally:
            place.active -= 1
            place.used_s = time.monotonic()
            await asyncio.shield(self._tell())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _offer_of(self, name: str | None) -> Offer:
        if name is None or name == self._default:
            return self._first
        if name in self._places:
            return self._places[name].offer
        return await asyncio.to_thread(self._found, name)

    def _found(self, name: str) -> Offer:
        offers = {offer.card.name: offer for offer in self._all_offers()}
        owner = name if name in offers else self._shelf.owner_of(name)
        if owner in offers:
            return offers[owner]
        if name.startswith(("/", ".", "~", "\\")) or ".." in name or name.lower().endswith(".gguf"):
            raise UnknownModel("a request names a model by its name, never by a path; GET /v1/models lists the names")
        raise UnknownModel(
            f"the model {name!r} is not on the server's machine; GET /v1/models lists what is "
            "(there, `vortex pull` fetches more)"
        )

    def _all_offers(self) -> list[Offer]:
        others = [offer for offer in self._shelf.offers() if offer.card.name != self._default]
        return [self._first, *others]

    async def _taken(self, offer: Offer) -> _Place:
        """The model's place, open and counted as answering."""
        if offer.size_bytes > self._options.budget_bytes and offer is not self._first:
            raise RequestError(
                f"{offer.card.name} needs {_spelled(offer.size_bytes)} and all models together may take "
                f"{_spelled(self._options.budget_bytes)} (server.models_memory_mb)",
                param="model",
                code="model_too_large",
            )
        async with self._changed:
            place = self._places.get(offer.card.name) or await self._room(offer)
            place.waiting += 1
            try:
                while place.backend is None and place.error is None and not self._closing:
                    await self._changed.wait()
            finally:
                place.waiting -= 1
            if self._closing:
                raise BackendError("the server is closing and takes no more requests", status=503)
            if place.error is not None:
                raise BackendError(f"{offer.card.name} cannot be opened: {place.error}", status=503)
            place.active += 1
            return place

    async def _room(self, offer: Offer) -> _Place:
        """A new place that is being opened, when idle ones can make room for it; under the lock."""
        name, deadline_s = offer.card.name, time.monotonic() + self._options.wait_s
        while (leaving := self._leaving_for(offer)) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or self._closing:
                busy = ", ".join(place.offer.card.name for place in self._places.values() if not place.is_idle)
                raise Overloaded(
                    f"{name} ({_spelled(offer.size_bytes)}) does not fit beside {busy}, which is answering: all models "
                    f"together may take {_spelled(self._options.budget_bytes)} (server.models_memory_mb); try again"
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)
            if name in self._places:  # another request had the room first, for this very model
                return self._places[name]
        for place in leaving:
            del self._places[place.offer.card.name]
            self._counters["model_evictions"] += 1
        place = self._places[name] = _Place(offer)
        self._failures.pop(name, None)
        self._start(self._opening(place, leaving), "opening")
        if self._options.ttl_s:
            self._watch_idle()
        return place

    def _leaving_for(self, offer: Offer) -> list[_Place] | None:
        """Idle models that must go, the least recently used first; None where that would not be enough."""
        missing = self._used_bytes() + offer.size_bytes - self._options.budget_bytes
        leaving = []
        for place in sorted(self._places.values(), key=lambda place: place.used_s):
            if missing > 0 and place.is_idle:
                leaving.append(place)
                missing -= place.offer.size_bytes
        return leaving if missing <= 0 or len(leaving) == len(self._places) else None

    def _used_bytes(self) -> int:
        return sum(place.offer.size_bytes for place in self._places.values())

    # --- what goes on beside requests --------------------------------------------------------------------------------

    async def _opening(self, place: _Place, leaving: Sequence[_Place]) -> None:
        """Nobody's going away stops it: the next request finds the model open."""
        name, started_s = place.offer.card.name, time.monotonic()
        try:
            for other in leaving:
                await _closed(other)
            backend = await asyncio.to_thread(self._shelf.open, name)
        except VortexError as error:
            place.error = error
        except Exception:
            _log.exception("%s could not be opened", name)
            place.error = BackendError("the server failed to open it; its log says why", status=503)
        else:
            place.backend, place.used_s = backend, time.monotonic()
        async with self._changed:
            if place.error is None:
                self._counters["model_loads"] += 1
                self._counters["model_load_ms"] += 1e3 * (time.monotonic() - started_s)
            else:
                self._counters["model_failures"] += 1
                self._failures[name] = str(place.error)
                del self._places[name]
            self._changed.notify_all()

    def _watch_idle(self) -> None:
        if not any(task.get_name() == "idle" for task in self._tasks):
            self._start(self._closing_idle(), "idle")

    async def _closing_idle(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_EVERY_S, self._options.ttl_s / 2))
            async with self._changed:
                before_s = time.monotonic() - self._options.ttl_s
                idle = [place for place in self._places.values() if place.is_idle and place.used_s < before_s]
                for place in idle:
                    del self._places[place.offer.card.name]
                self._changed.notify_all()
            for place in idle:
                await _closed(place)

    def _start(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _events(backend: ChatBackend, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
    events = backend.chat(request)
    try:
        async for event in events:
            yield event
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def _closed(place: _Place) -> None:
    backend, place.backend = place.backend, None
    if backend is not None:
        await backend.close()


def _spelled(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
