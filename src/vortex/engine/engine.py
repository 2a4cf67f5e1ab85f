"""The sweep loop: one thread that owns the model and moves all requests forward together, in four beats.

    schedule   who rides: every running answer, and chunks of prompts; cancelled requests leave
    sweep      one pass over the weights for all of them
    sample     rows to tokens, tokens to text
    emit       events into the mailboxes, one wake-up per event loop

Promises: a request that is cancelled has left by the next sweep; a sweep that fails ends the requests in it and no
others; whatever ends, its states are closed. docs/engine.md draws the whole way of a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from vortex.decode.drafting.block_decoding import BlockDecoding
from vortex.engine.boarding import Boarding
from vortex.engine.choice import Landed
from vortex.engine.job import Job
from vortex.engine.mailbox import Post
from vortex.engine.options import EngineOptions
from vortex.engine.prefix_cache import PrefixCache
from vortex.engine.prompt_store import PromptStore
from vortex.engine.riders import BlockRider, PromptRider, Rider
from vortex.engine.scheduler import Scheduler, Ticket
from vortex.engine.visits import Asked, Visits
from vortex.errors import BackendError, Overloaded, VortexError
from vortex.protocols import Counting, KeepsStates, LanguageModel
from vortex.types import BackendStatus, Exactness, SweepOutput, hash_of

IDLE_S = 2.0  # without a request, after which prompts go to disk
_log = logging.getLogger(__name__)
_COUNTERS = (
    *("requests", "refused", "completed", "cancelled", "failed"),
    *("sweeps", "failed_sweeps", "swept_tokens", "sweep_ms", "prompt_tokens", "cached_tokens", "generated_tokens"),
)  # all there from the start: another thread may read them while they count


class Engine:
    """Owns the model and closes it. `submit`, `status` and `close` may be called from any thread.

    vocab_size: tokens that can be sampled, where the model's own vocabulary is padded beyond the tokenizer's.
    """

    def __init__(self, model: LanguageModel, options: EngineOptions, vocab_size: int | None = None) -> None:
        self._model = model
        self._vocab_size = min(vocab_size or model.vocab_size, model.vocab_size)
        self._prefixes = _prefixes(model, options)
        self._scheduler: Scheduler[Job] = Scheduler(
            max_slots=options.max_slots,
            queue_limit=options.queue_limit,
            chunk_tokens=model.prefill_chunk,
            prefill_tokens_per_sweep=options.prefill_tokens_per_sweep,
        )
        self._boarding = _boarding(model, options, self._vocab_size)
        self._post = Post()
        self._visits = Visits()
        self._counters = dict.fromkeys(_COUNTERS, 0.0)
        self._changed = threading.Condition()  # guards the scheduler and the two flags
        self._refusing = self._stopping = False
        self._thread = threading.Thread(target=self._run, name="vortex-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take the request into the line. Raises Overloaded, or BackendError on an engine that closes."""
        with self._changed:
            if self._refusing:
                raise BackendError("the engine is closing and takes no more requests", status=503)
            try:
                self._scheduler.submit(Ticket(job, len(job.prompt_ids), job.slots))
            except Overloaded:
                self._counters["refused"] += 1
                raise
            self._counters["requests"] += 1
            self._changed.notify_all()

    def visit(self, asked: Asked) -> Future[Any]:
        """Sweep a question of its own between the answers' sweeps. Raises BackendError on an engine that closes."""
        with self._changed:
            if self._refusing:
                raise BackendError("the engine is closing and takes no more questions", status=503)
            answer = self._visits.submit(asked)
            self._changed.notify_all()
            return answer

    def status(self) -> BackendStatus:
        """`counters`: totals since the start, and what the prefix cache holds now."""
        counters = {
            **self._counters,
            **(self._model.counters() if isinstance(self._model, Counting) else {}),
            **(self._boarding.blocks.counters() if self._boarding else {}),
            "prefix_hits": float(self._prefixes.hits),
            "prefix_evictions": float(self._prefixes.evictions),
            "prefix_bytes": float(self._prefixes.resident_bytes),
        }
        if (store := self._prefixes.store) is not None:
            counters |= {"prefix_disk_hits": float(store.hits), "prefix_disk_writes": float(store.writes)}
        with self._changed:
            return BackendStatus(
                ready=not self._refusing and self._thread.is_alive(),
                active=self._scheduler.num_active,
                queued=self._scheduler.num_waiting,
                counters=counters,
            )

    def close(self, drain_s: float = 0.0) -> None:
        """Take no more requests, let the others finish for at most `drain_s` seconds, end what is left, free all."""
        with self._changed:
            self._refusing = True
            self._changed.wait_for(lambda: not self._scheduler.tickets(), timeout=drain_s)
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    # --- the loop, on its own thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._step()
            except Exception as error:  # a defect in the loop itself: nobody may be left waiting for ever
                _log.error("the engine failed between sweeps: %s", error, exc_info=True)
                with self._changed:
                    tickets = self._scheduler.tickets()
                for ticket in tickets:
                    self._fail(ticket, _model_failed(error))
                self._post.deliver()
        self._finish()

    def _wait_for_work(self) -> bool:
        """What is idle for a while is used to bring prompts to disk, one at a time."""
        while True:
            with self._changed:
                patience_s = IDLE_S if self._prefixes.has_unsaved else None
                has_work = self._changed.wait_for(self._is_wanted, timeout=patience_s)
                if has_work:
                    return not self._stopping
            try:
                self._prefixes.save_one()
            except Exception:  # what is kept for later must not end what answers now
                _log.exception("a prompt could not be kept on disk")

    def _is_wanted(self) -> bool:
        return self._stopping or bool(self._scheduler.tickets()) or bool(self._visits)

    def _step(self) -> None:
        riders = self._schedule()
        if riders:
            if self._boarding:
                self._boarding.board(riders)
            started = time.perf_counter()
            output = self._sweep(riders)
            sweep_s = time.perf_counter() - started
            if output is not None:
                landed = self._sample(riders, output)
                if self._boarding:
                    self._boarding.settle(riders, landed, output, sweep_s)
                self._emit(riders)
        self._post.deliver()
        self._visits.advance(self._model)

    def _schedule(self) -> list[Rider]:
        with self._changed:
            self._drop_cancelled()
            admitted = self._scheduler.admit()
        for ticket in admitted:  # a reused prefix may be a copy of megabytes: nobody waits for the lock meanwhile
            self._begin(ticket)
        with self._changed:
            plan = self._scheduler.plan()
        riders: list[Rider] = [
            BlockRider(ticket, choice)
            for ticket in plan.decoding
            for choice in ticket.job.choices
            if not choice.finish_reason
        ]
        riders += [PromptRider(chunk, self._prefixes) for chunk in plan.chunks]
        return sorted(riders, key=lambda rider: hash_of(rider.ticket.job.adapter))  # neighbours share an adapter's way

    def _sweep(self, riders: Sequence[Rider]) -> SweepOutput | None:
        started = time.perf_counter()
        spans = [rider.span() for rider in riders]
        try:
            output = self._model.sweep(spans)
        except Exception as error:  # whatever it was, the loop goes on for everyone else
            _log.debug("a sweep failed", exc_info=True)
            self._counters["failed_sweeps"] += 1
            for ticket in _tickets(riders):
                self._fail(ticket, _model_failed(error))
            return None
        self._counters["sweeps"] += 1
        self._counters["swept_tokens"] += sum(len(span.token_ids) for span in spans)
        self._counters["sweep_ms"] += 1e3 * (time.perf_counter() - started)
        return output

    def _sample(self, riders: Sequence[Rider], output: SweepOutput) -> list[Sequence[Landed]]:
        """What came of each rider's rows, by its answers; nothing of a request that fails here."""
        landed: list[Sequence[Landed]] = [()] * len(riders)
        for index, rider in enumerate(riders):
            if not rider.ticket.slots:
                continue  # another choice of the same request has just failed
            logits = output.logits[output.logits_rows[index]][:, : self._vocab_size]
            hidden = None if output.hidden is None else output.hidden[output.hidden_rows[index]]
            try:
                landed[index] = rider.land(logits, hidden)
                self._counters["generated_tokens"] += sum(len(answer.tokens) for answer in landed[index])
            except Exception as error:  # one request's constraint or numbers; the others have nothing to do with it
                _log.debug("a request failed while it was sampled", exc_info=True)
                self._fail(rider.ticket, error if isinstance(error, VortexError) else _model_failed(error))
        return landed

    def _emit(self, riders: Sequence[Rider]) -> None:
        for ticket in _tickets(riders):
            job = ticket.job
            if not ticket.slots or job.box.is_abandoned:
                continue
            self._post.put(job.box, job.take_events())
            freed = job.release()
            if freed:
                with self._changed:
                    for _ in range(freed):
                        self._scheduler.free_slot(ticket)
                    self._changed.notify_all()
            if job.is_done:
                self._counters["completed"] += 1
                self._post.end(job.box)

    # --- beginnings and ends -----------------------------------------------------------------------------------------

    def _begin(self, ticket: Ticket[Job]) -> None:
        job = ticket.job
        try:
            reused = self._prefixes.reuse(job.prompt_ids, hash_of(job.adapter)) if job.shares_prefix else None
            job.begin(reused or self._model.new_state())
        except Exception as error:  # no memory for another state
            _log.debug("a request failed to begin", exc_info=True)
            self._fail(ticket, _model_failed(error))
            return
        if reused is not None:
            ticket.swept_tokens = reused.length
            self._counters["cached_tokens"] += reused.length
        self._counters["prompt_tokens"] += ticket.prompt_tokens

    def _drop_cancelled(self) -> None:
        for ticket in self._scheduler.tickets():
            if ticket.job.box.is_abandoned:
                self._counters["cancelled"] += 1
                self._leave(ticket)

    def _fail(self, ticket: Ticket[Job], error: VortexError) -> None:
        self._counters["failed"] += 1
        self._leave(ticket)
        self._post.end(ticket.job.box, error)

    def _leave(self, ticket: Ticket[Job]) -> None:
        with self._changed:
            self._scheduler.remove(ticket)
            ticket.slots = 0
            self._changed.notify_all()
        ticket.job.close()

    def _finish(self) -> None:
        """The loop has ended: end what is left with what there is, and give everything back."""
        for ticket in self._scheduler.tickets():
            job = ticket.job
            try:
                job.cut_short()
                self._post.put(job.box, job.take_events())
                self._post.end(job.box)
            except VortexError as error:
                self._post.end(job.box, error)
            self._counters["cancelled"] += 1
            self._leave(ticket)
        self._post.deliver()
        self._visits.end(BackendError("the engine closed before the text was read", status=503))
        self._prefixes.save_all()
        self._prefixes.clear()
        self._model.close()


def _prefixes(model: LanguageModel, options: EngineOptions) -> PrefixCache:
    store = None
    if options.prompt_store is not None and isinstance(model, KeepsStates) and model.state_form:
        store = PromptStore(model, options.prompt_store)
    return PrefixCache(chunk_tokens=model.prefill_chunk, budget_bytes=options.prefix_cache_bytes, store=store)


def _boarding(model: LanguageModel, options: EngineOptions, vocab_size: int) -> Boarding | None:
    """None where nothing is guessed: nobody is there to guess, or a block's width would show in the answer."""
    keeps_law = model.exactness is Exactness.BITWISE or options.drafts_always
    if not options.drafters or options.max_block < 2 or not keeps_law:
        return None
    return Boarding(model, BlockDecoding(options.drafters, vocab_size), options.max_block)


def _model_failed(error: Exception) -> BackendError:
    """A new error for each request: an exception that is raised in two places mixes up its tracebacks."""
    return BackendError(f"the model failed while answering: {str(error) or type(error).__name__}")


def _tickets(riders: Sequence[Rider]) -> list[Ticket[Job]]:
    """Each request once, though several of its answers may ride."""
    return list({id(rider.ticket): rider.ticket for rider in riders}.values())
