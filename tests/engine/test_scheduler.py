"""The scheduler under random traffic: its promises, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.engine.scheduler import Scheduler, Ticket
from vortex.errors import Overloaded

CHUNK = 4


def scheduler(**changes) -> Scheduler[str]:
    limits = {"max_slots": 3, "queue_limit": 2, "chunk_tokens": CHUNK, "prefill_tokens_per_sweep": 8, **changes}
    return Scheduler(**limits)


REQUESTS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 3), st.integers(1, 12), st.integers(0, 6)), min_size=1, max_size=12
)  # prompt tokens, slots, tokens of the answer, reused chunks


@settings(max_examples=150)
@given(REQUESTS, st.integers(1, 12), st.lists(st.integers(0, 11), max_size=4))
def test_promises_under_random_traffic(requests, budget, cancelled):
    line = scheduler(queue_limit=100, prefill_tokens_per_sweep=budget)
    tickets = []
    for number, (prompt_tokens, slots, _, _) in enumerate(requests):
        tickets.append(Ticket(number, prompt_tokens, slots))
        line.submit(tickets[-1])
    left_to_say = {number: answer for number, (_, _, answer, _) in enumerate(requests)}
    cuts: dict[int, list[int]] = {}
    admitted, unserved = [], dict.fromkeys(range(len(requests)), 0)
    for sweep in range(2000):
        if not line.tickets():
            break
        if sweep == 3:
            for number in cancelled:
                if number < len(tickets):
                    line.remove(tickets[number])
                    line.remove(tickets[number])
                    left_to_say.pop(number, None)
        for ticket in line.admit():
            admitted.append(ticket.job)
            most = (ticket.prompt_tokens - 1) // CHUNK
            ticket.swept_tokens = CHUNK * min(requests[ticket.job][3], most)
            cuts[ticket.job] = [ticket.swept_tokens]
        running = [ticket for ticket in tickets if ticket.job in cuts and ticket in line.tickets()]
        assert sum(ticket.slots for ticket in running) + line.free_slots == line.max_slots
        plan = line.plan()
        check_plan(plan, running, budget)
        serve(line, plan, running, left_to_say, cuts, unserved)
    assert not line.tickets()
    assert admitted == sorted(admitted), "first come, first admitted"
    assert line.free_slots == line.max_slots
    assert not left_to_say
    for number, at in cuts.items():
        prompt_tokens = requests[number][0]
        if at[-1] == prompt_tokens:
            assert at == [*range(at[0], prompt_tokens, CHUNK), prompt_tokens], "cut at multiples of the chunk alone"


def check_plan(plan, running, budget):
    assert [t.job for t in sorted(plan.decoding, key=id)] == [
        t.job for t in sorted((t for t in running if t.is_decoding), key=id)
    ], "every sequence past its prompt rides"
    assert len({chunk.ticket.job for chunk in plan.chunks}) == len(plan.chunks)
    assert len(plan.chunks) <= 1 or sum(chunk.stop - chunk.start for chunk in plan.chunks) <= budget
    assert plan.chunks or plan.decoding or not running, "somebody rides"
    assert plan.chunks or all(ticket.is_decoding for ticket in running), "prompts go on beside decodes"


def serve(line, plan, running, left_to_say, cuts, unserved):
    served = {chunk.ticket.job for chunk in plan.chunks}
    for ticket in running:
        unserved[ticket.job] = 0 if ticket.job in served or ticket.is_decoding else unserved[ticket.job] + 1
        assert unserved[ticket.job] <= line.max_slots, "prompts take turns"
    for ticket in plan.decoding:
        left_to_say[ticket.job] -= 1
        if left_to_say[ticket.job] <= 0:
            left_to_say.pop(ticket.job)
            while ticket.slots:
                line.free_slot(ticket)
    for chunk in plan.chunks:
        assert chunk.start == chunk.ticket.swept_tokens
        chunk.ticket.swept_tokens = chunk.stop
        cuts[chunk.ticket.job].append(chunk.stop)


def test_a_full_line_says_so_and_stays_as_it_was():
    line = scheduler()
    for number in range(5):  # three slots and two in the line
        line.submit(Ticket(f"r{number}", 1))
    with pytest.raises(Overloaded, match="no more than 2 may wait; try again later"):
        line.submit(Ticket("one too many", 1))
    assert [ticket.job for ticket in line.admit()] == ["r0", "r1", "r2"]
    assert line.num_waiting == 2


def test_a_wide_request_is_not_overtaken():
    line = scheduler()
    line.submit(Ticket("first", 1, slots=2))
    line.submit(Ticket("wide", 1, slots=3))
    line.submit(Ticket("narrow", 1))
    assert [ticket.job for ticket in line.admit()] == ["first"]
    first = line.tickets()[0]
    line.free_slot(first)
    assert line.admit() == []
    line.free_slot(first)
    assert [ticket.job for ticket in line.admit()] == ["wide"]
