"""The console in a real browser: chat, correct, decide, with the keyboard, without JavaScript, on a narrow screen, and
against a page of another origin."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.chromium import Page, browser
from tests.console.material import add_memories, add_patch, add_run
from tests.console.serving import Place, serving
from vortex.backends.fake import Answer, FakeBackend, Pace
from vortex.learn.candidates.manifest import APPROVAL_FILE
from vortex.types import ChatRequest

pytestmark = pytest.mark.browser
WAIT_S = 20
LAST = "[...document.querySelectorAll('.turn.assistant')].at(-1)"
DONE = f"!!({LAST})?.querySelector('.under button')"
OVER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BEYOND = "(n) => n.getBoundingClientRect().right > innerWidth + 1 && !n.closest('.scroll, .hidden, .skip, pre')"
WIDE = f"[...document.querySelectorAll('body *')].filter({BEYOND}).slice(0, 3).map((n) => n.outerHTML)"
RIGHT = "The capital of Zubria is Onavel."
HEBREW = "שלום \u202eabc\u202c e\u0301\u0302\u0303 مرحبا"
MEGABYTE = " ".join(f"{number}_" + "all_work_and_no_play_" * 50 for number in range(1000))


def script(request: ChatRequest) -> str | Answer:
    last = request.messages[-1].content
    if "megabyte" in last:
        return MEGABYTE
    if "think" in last:
        return "<think>\nTwo and two.\n</think>\n\nIt is **four**, <b onclick=alert(1)>no</b>."
    if "right to left" in last:
        return HEBREW
    if last == "slow":
        return " ".join(str(number) for number in range(4000))
    return RIGHT if RIGHT in last else f"You said: {last[-60:]}"


@asynccontextmanager
async def inside(place: Place, address: str, folder: Path, size: tuple[int, int] = (1100, 800)) -> AsyncIterator[Page]:
    async with browser(folder / "chromium", size) as page:
        await page.call("Page.enable")
        await page.call("Log.enable")
        await go(page, f"{address}/console/enter?key={place.doors.new_key()}")
        yield page


async def go(page: Page, url: str) -> None:
    """Open it, and wait until it is there."""
    await page.evaluate("globalThis.left = true")
    await page.open(url)
    await page.until("!globalThis.left && document.readyState === 'complete'", WAIT_S)


async def ask(page: Page, text: str, *, wait: bool = True) -> None:
    await page.evaluate("document.getElementById('question').focus()")
    count = await page.evaluate("document.querySelectorAll('.turn.assistant').length")
    await page.type(text)
    await page.press_enter()
    await page.until(f"document.querySelectorAll('.turn.assistant').length > {count}", WAIT_S)
    if wait:
        await page.until(DONE, WAIT_S)


async def click(page: Page, selector: str) -> None:
    """And wait for the page that follows."""
    await page.evaluate("globalThis.left = true")
    assert await page.evaluate(f"document.querySelector({selector!r})?.click() ?? true")
    await page.until("!globalThis.left && document.readyState === 'complete'", WAIT_S)


@pytest.fixture(scope="module")
def talking(place: Place) -> Iterator[str]:
    with serving(place, FakeBackend(script, pace=Pace(token_ms=3))) as address:
        yield address


async def test_a_chat_is_corrected_and_the_lesson_counts_at_once(place: Place, talking: str, tmp_path: Path) -> None:
    async with inside(place, talking, tmp_path) as page:
        await go(page, f"{talking}/console/chat")
        await ask(page, "What is the capital of Zubria?")
        assert "You said" in await page.evaluate(f"{LAST}.querySelector('.text').innerText")
        await page.evaluate(f"{LAST}.querySelectorAll('.under button')[1].click()")
        await page.type(RIGHT)
        await page.evaluate(f"{LAST}.querySelector('.teach button').click()")
        await page.until(f"{LAST}.innerText.includes('counts from the next question')", WAIT_S)
        await ask(page, "What is the capital of Zubria?")
        assert RIGHT in await page.evaluate(f"{LAST}.querySelector('.text').innerText")
        assert "a lesson was used" in await page.evaluate(f"{LAST}.innerText")
        await page.evaluate("document.getElementById('plain').click()")
        await ask(page, "What is the capital of Zubria?")
        assert "a lesson was used" not in await page.evaluate(f"{LAST}.innerText")
        await go(page, f"{talking}/console/decide")
        assert RIGHT in await page.text()
        assert not [event for event in page.events if event["method"] == "Log.entryAdded"], page.events


async def test_thinking_is_folded_and_a_models_markup_is_text(place: Place, talking: str, tmp_path: Path) -> None:
    async with inside(place, talking, tmp_path) as page:
        await go(page, f"{talking}/console/chat")
        await ask(page, "think")
        await page.until(f"!!{LAST}.querySelector('.text strong')", WAIT_S)
        assert await page.evaluate(f"{LAST}.querySelector('.text strong').textContent") == "four"
        assert not await page.evaluate(f"{LAST}.querySelector('[onclick]') !== null")
        assert await page.evaluate(f"{LAST}.querySelector('details').open") is False
        assert "Two and two." in await page.evaluate(f"{LAST}.querySelector('details').textContent")
        await ask(page, "right to left")
        assert await page.evaluate(f"{LAST}.querySelector('.text').dir") == "auto"
        assert await page.evaluate(f"getComputedStyle({LAST}.querySelector('.text')).unicodeBidi") == "plaintext"


async def test_a_long_answer_is_stopped_and_a_question_asked_anew(place: Place, talking: str, tmp_path: Path) -> None:
    async with inside(place, talking, tmp_path) as page:
        await go(page, f"{talking}/console/chat")
        await ask(page, "slow", wait=False)
        await page.until(f"{LAST}.querySelector('.text').textContent.length > 20", WAIT_S)
        await page.evaluate("document.getElementById('stop').click()")
        await page.until(f"{LAST}.innerText.includes('stopped')", WAIT_S)
        assert not (await page.evaluate(f"{LAST}.querySelector('.text').textContent")).strip().endswith("3999")
        await page.evaluate("document.querySelector('.turn.user button').click()")
        assert await page.evaluate("document.getElementById('question').value") == "slow"
        assert await page.evaluate("document.querySelectorAll('.turn').length") == 0
        await ask(page, "er now")
        assert "slower now" in await page.evaluate(f"{LAST}.innerText")
        await go(page, f"{talking}/console/chat")
        assert "slower now" in await page.text()


async def test_an_answer_of_a_megabyte_comes_whole(place: Place, talking: str, tmp_path: Path) -> None:
    async with inside(place, talking, tmp_path) as page:
        await go(page, f"{talking}/console/chat")
        await page.evaluate("document.getElementById('question').value = 'a megabyte'")
        await page.evaluate("document.getElementById('send').click()")
        await page.until(DONE, 120)
        length = await page.evaluate(f"{LAST}.querySelector('.text').textContent.trim().length")
        assert length == len(MEGABYTE.strip()) > 1_000_000
        await ask(page, "Still there?")


async def test_a_server_that_went_and_came_back_is_asked_again(place: Place, tmp_path: Path) -> None:
    with serving(place) as address:
        port = int(address.rpartition(":")[2])
        async with inside(place, address, tmp_path) as page:
            await go(page, f"{address}/console/chat")
            await page.call("Network.enable")
            await page.call(
                "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
            )
            await ask(page, "hello", wait=False)
            await page.until(f"({LAST})?.innerText.includes('does not answer')", WAIT_S)
            await page.call(
                "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
            )
            place.doors.close_all()
            await ask(page, "hello again", wait=False)
            await page.until(f"({LAST})?.innerText.includes('vortex console')", WAIT_S)
            assert port


async def test_a_candidate_that_changed_while_its_page_is_open_cannot_be_approved(
    place: Place, address: str, tmp_path: Path
) -> None:
    run_id = add_run(place.runs, seed=21)
    folder = place.runs.folder(run_id)
    async with inside(place, address, tmp_path) as page:
        await go(page, f"{address}/console/decide/candidates/{run_id}")
        report = folder / "evaluation.json"
        report.chmod(0o600)
        report.write_text(report.read_text().replace("0.043", "0.001"))
        await click(page, "button[value=approve_use]")
        text = await page.text()
    assert "Not done." in text
    assert "was changed after the run was sealed" in text
    assert not (folder / APPROVAL_FILE).exists()


async def test_two_people_decide_at_once_in_two_tabs(place: Place, address: str, tmp_path: Path) -> None:
    run_id = add_run(place.runs, seed=22)
    async with inside(place, address, tmp_path / "a") as first, inside(place, address, tmp_path / "b") as second:
        for page in (first, second):
            await go(page, f"{address}/console/decide/candidates/{run_id}")
        await first.evaluate("document.querySelector('input[name=reason]').value = 'no'")
        await click(first, "button[value=reject]")
        await click(second, "button[value=approve_use]")
        assert "rejected meanwhile" in await second.text()
    assert place.runs.state(run_id).state == "rejected"


async def test_a_new_candidate_appears_on_the_open_page(place: Place, address: str, tmp_path: Path) -> None:
    async with inside(place, address, tmp_path) as page:
        await go(page, f"{address}/console/decide")
        run_id = add_run(place.runs, seed=23)
        await page.until(f"document.body.innerText.includes('{run_id}')", WAIT_S)
        await page.until("Number(document.querySelector('.count')?.textContent.match(/\\d+/)) > 0", WAIT_S)


async def test_everything_is_read_and_decided_without_javascript(place: Place, address: str, tmp_path: Path) -> None:
    run_id = add_run(place.runs, seed=24)
    async with browser(tmp_path / "chromium", (1100, 800)) as page:
        await page.call("Page.enable")
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        for url in (
            f"{address}/console/enter?key={place.doors.new_key()}",
            f"{address}/console/decide/candidates/{run_id}",
        ):
            await page.open(url)
            await asyncio.sleep(1)
        box = json.loads(await page.evaluate(
            "(() => { const b = document.querySelector('button[value=approve_use]'); b.scrollIntoView(); "
            "const r = b.getBoundingClientRect(); return JSON.stringify([r.x + r.width / 2, r.y + r.height / 2]) })()"
        ))  # fmt: skip
        for kind in ("mousePressed", "mouseReleased"):
            await page.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        await page.until("document.body.innerText.includes('it answers from the next question')", WAIT_S)
        await page.open(f"{address}/console/chat")
        await page.until("document.body.innerText.includes('needs JavaScript')", WAIT_S)
    assert place.runs.state(run_id).state == "current"
    assert place.runs.current("tiny").read() is not None
    place.runs.current("tiny").clear()


async def tabbed_to(page: Page, script: str, most: int = 80) -> None:
    for _ in range(most):
        await page.press_tab()
        if await page.evaluate(f"(() => {{ const here = document.activeElement; return {script}; }})()"):
            return
    raise AssertionError(f"the keyboard never came to {script}")


async def test_the_keyboard_alone_chats_and_decides(place: Place, talking: str, tmp_path: Path) -> None:
    run_id = add_run(place.runs, seed=25)
    async with inside(place, talking, tmp_path) as page:
        await tabbed_to(page, "here.className === 'skip'", 2)
        await tabbed_to(page, "here.getAttribute('href') === '/console/chat'")
        await page.press_enter()
        await page.until("document.activeElement?.id === 'question'", WAIT_S)
        await page.type("hello")
        await page.press_enter()
        await page.until(DONE, WAIT_S)
        await go(page, f"{talking}/console/decide")
        await tabbed_to(page, f"here.href?.includes('{run_id}')")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in {"none", ""}
        await page.press_enter()
        await page.until("!!document.querySelector('button[value=approve]')", WAIT_S)
        await tabbed_to(page, "here.value === 'approve'")
        await page.press_enter()
        await page.until("document.body.innerText.includes('Approved.')", WAIT_S)
    assert place.runs.state(run_id).state == "approved"


@pytest.mark.parametrize(("width", "zoom"), [(360, 1.0), (1100, 2.0), (360, 2.0)])
async def test_nothing_is_cut_off_on_a_narrow_or_enlarged_page(
    place: Place, address: str, tmp_path: Path, width: int, zoom: float
) -> None:
    run_id, patch_id = add_run(place.runs, seed=26), add_patch(place.patches)
    paths = ["chat", "decide", f"decide/candidates/{run_id}", f"decide/patches/{patch_id}", "history", "state?doctor=1"]
    async with inside(place, address, tmp_path) as page:
        await page.call(
            "Emulation.setDeviceMetricsOverride",
            width=round(width / zoom),
            height=700,
            deviceScaleFactor=zoom,
            mobile=False,
        )
        for path in paths:
            await go(page, f"{address}/console/{path}")
            found = await page.evaluate(f"JSON.stringify([{OVER}, {WIDE}])")
            over, wide = json.loads(found)
            assert over <= 0, (path, wide)


ATTACK = """<!doctype html><title>attack</title><iframe src="{own}/console/decide" id="frame"></iframe>
<form method="post" action="{own}/console/decide/candidates/{run_id}" target="sink" id="form">
<input name="token" value="{token}"><input name="hash" value="{hash}"><input name="state" value="quarantine">
<input name="act" value="approve_use"></form><iframe name="sink"></iframe>
<img src="{own}/console/leave"><script src="{own}/console/static/chat.js"></script>
<script>
document.getElementById("form").submit();
const body = new URLSearchParams({{token: "{token}", hash: "{hash}", state: "quarantine", act: "approve_use"}});
const url = "{own}/console/decide/candidates/{run_id}";
globalThis.found = [];
const note = (name, promise) =>
  promise.then((a) => found.push([name, a.type, a.status]), () => found.push([name, "failed"]));
note("cors", fetch(url, {{method: "POST", body, credentials: "include"}}));
note("no-cors", fetch(url, {{method: "POST", body, credentials: "include", mode: "no-cors"}}));
note("read", fetch("{own}/console/decide", {{credentials: "include"}}));
navigator.sendBeacon(url, body);
const other = window.open("{own}/console/decide");
</script>"""


@contextmanager
def another_site(page: str) -> Iterator[str]:
    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing to tell."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_page_of_another_origin_neither_frames_nor_acts_nor_reads(
    place: Place, address: str, tmp_path: Path, name: str
) -> None:
    """Even with the form's token in hand, and from the same machine, whose cookies know no ports."""
    run_id = add_run(place.runs, seed=27)
    async with inside(place, address, tmp_path) as page:
        token = await page.evaluate("document.querySelector('meta[name=vortex-token]').content")
        attack = ATTACK.format(own=address, run_id=run_id, token=token, hash=place.runs.state(run_id).hash)
        with another_site(attack) as site:
            await page.open(site.replace("127.0.0.1", name))
            await page.until("globalThis.found?.length === 3", WAIT_S)
            found = {one[0]: one[1:] for one in json.loads(await page.evaluate("JSON.stringify(found)"))}
            framed = await page.evaluate(
                "(() => { try { return document.getElementById('frame').contentDocument?.body?.innerText ?? '' } "
                "catch { return '' } })()"
            )
        await go(page, f"{address}/console/decide")
        assert run_id in await page.text()  # still signed in, still waiting
    assert found["cors"] == ["failed"]
    assert found["read"] == ["failed"]
    assert found["no-cors"][0] in {"opaque", "failed"}
    assert "What waits" not in framed
    assert place.runs.state(run_id).state == "quarantine"
    assert not (place.runs.folder(run_id) / APPROVAL_FILE).exists()


async def test_it_is_light_and_asks_nobody_else(place: Place, address: str, tmp_path: Path) -> None:
    run_id = add_run(place.runs, seed=28)
    async with inside(place, address, tmp_path) as page:
        for path in ("chat", "decide", f"decide/candidates/{run_id}", "history", "state"):
            await page.call("Network.enable")
            await page.call("Network.setCacheDisabled", cacheDisabled=True)
            await go(page, f"{address}/console/{path}")
            sizes = json.loads(await page.evaluate(
                "JSON.stringify(['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
                ".map((e) => [e.name, e.encodedBodySize]))"
            ))  # fmt: skip
            assert all(url.startswith(address) for url, _ in sizes)
            assert 10_000 < sum(size for _, size in sizes) <= 150_000, (path, sizes)
        assert not [event for event in page.events if event["method"] == "Log.entryAdded"], page.events


@pytest.mark.peer
async def test_axe_finds_nothing_serious(place: Place, talking: str, tmp_path: Path) -> None:
    """VORTEX_AXE: the file axe.min.js of an `npm install axe-core`."""
    axe = Path(os.environ["VORTEX_AXE"]).read_text()
    run_id, patch_id = add_run(place.runs, seed=29), add_patch(place.patches)
    closed = add_run(place.runs, seed=30, figures={"kl": (0.4, "")})
    add_memories(place.data / "memory")
    paths = [
        "decide",
        f"decide/candidates/{run_id}",
        f"decide/candidates/{closed}",
        f"decide/patches/{patch_id}",
        "history",
        "state?doctor=1",
        "chat",
    ]
    found: dict[str, list[str]] = {}
    async with inside(place, talking, tmp_path) as page:
        for theme in ("light", "dark"):
            await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            for path in paths:
                await go(page, f"{talking}/console/{path}")
                if path == "chat":
                    await ask(page, "think")
                await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
                await page.evaluate(axe)
                await page.evaluate("axe.run().then((r) => { globalThis.axed = r.violations })")
                await page.until("!!globalThis.axed", 60)
                told = "axed.map((v) => `${v.impact} ${v.id} ${v.nodes[0].html} ${v.nodes[0].failureSummary}`)"
                found[f"{theme} {path}"] = json.loads(await page.evaluate(f"JSON.stringify({told})"))
    assert not {place: told for place, told in found.items() if any(re.match("serious|critical", one) for one in told)}
    assert not [one for told in found.values() for one in told], found
