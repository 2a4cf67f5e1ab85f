"""A reader and its mailbox: order, endings, and a reader that lags."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from vortex.engine.mailbox import Mailbox, Post
from vortex.errors import RequestError


async def test_items_come_in_order_and_end() -> None:
    box: Mailbox[int] = Mailbox()
    post = Post()
    post.put(box, [1, 2, 3])
    post.end(box)
    post.deliver()
    assert [item async for item in box] == [1, 2, 3]


async def test_an_error_comes_after_what_was_put_before_it() -> None:
    box: Mailbox[int] = Mailbox()
    post = Post()
    post.put(box, [1])
    post.end(box, RequestError("too much"))
    post.deliver()
    assert await anext(box) == 1
    with pytest.raises(RequestError, match="too much"):
        await anext(box)


async def test_a_reader_that_lags_behind_its_box_can_be_cancelled() -> None:
    """The box never runs empty, so reading never has to wait: a cancellation must arrive all the same."""
    box: Mailbox[int] = Mailbox()
    numbers = itertools.count()
    box.put(next(numbers))

    async def read() -> None:
        async for item in box:
            assert item < 10_000, "the cancellation was never delivered"
            box.put(next(numbers))

    reader = asyncio.create_task(read())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
