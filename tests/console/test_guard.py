"""Other pages, other people, other tokens: none acts; and nobody can frame or script what is answered."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.console.material import add_run
from tests.console.serving import Person, Place, serving
from vortex.learn.candidates.manifest import APPROVAL_FILE, REJECTION_FILE
from vortex.server.options import ServerOptions


@pytest.fixture(scope="module")
def run_id(place: Place) -> str:
    return add_run(place.runs)


def attacks(own: str, token: str, digest: str) -> dict[str, dict[str, Any]]:
    """By name, what differs from the honest request: headers, fields (None: left out), content, method, cookies."""
    port = own.rpartition(":")[2]
    outside = {
        "another site": "https://evil.example",
        "another site, our name in front": f"{own}.evil.example",
        "another port of this machine": "http://127.0.0.1:9",
        "another name of this machine": f"http://localhost:{port}",
        "no scheme": own.removeprefix("http://"),
        "https instead": own.replace("http:", "https:"),
        "a sandboxed frame or a file": "null",
        "an empty origin": "",
        "two origins": f"{own} https://evil.example",
        "with a path": f"{own}/console",
    }
    cases: dict[str, dict[str, Any]] = {
        f"origin: {name}": {"headers": {"origin": value}} for name, value in outside.items()
    }
    cases["origin: none at all"] = {"headers": {"origin": None}}
    for value in ("cross-site", "same-site", "anything"):
        cases[f"sec-fetch-site: {value}"] = {"headers": {"sec-fetch-site": value}}
    wrong = {
        "none": None,
        "empty": "",
        "wrong": "0" * 64,
        "cut": token[:-1],
        "long": token * 40,
        "another case": token.upper(),
    }
    cases |= {f"token: {name}": {"fields": {"token": value}} for name, value in wrong.items()}
    cases |= {
        "token in the address": {"fields": {"token": None}, "query": f"?token={token}"},
        "token in a header": {"fields": {"token": None}, "headers": {"x-console-token": token}},
        "no cookie": {"cookies": {}},
        "a made-up cookie": {"cookies": {f"vortex_console_{port}": "x" * 43}},
        "another server's cookie": {"cookies": {"vortex_console_1": "x" * 43}},
        "JSON instead of a form": {"content": f'{{"token":"{token}","hash":"{digest}","act":"approve"}}',
                                   "headers": {"content-type": "application/json"}},
        "text, as a plain form can send": {"content": f"token={token}&hash={digest}&state=quarantine&act=approve",
                                           "headers": {"content-type": "text/plain"}},
        "a form of another kind": {"content": "--x\r\n",
                                   "headers": {"content-type": "multipart/form-data; boundary=x"}},
        "a form without end": {"fields": {"reason": "x" * 70_000}},
        "GET instead of POST": {"method": "GET"},
        "PUT instead of POST": {"method": "PUT"},
        "a rebound name": {"headers": {"host": "evil.example", "origin": "http://evil.example"}},
        "a rebound name with our address in it": {"headers": {"host": f"127.0.0.1.evil.example:{port}"}},
        "another hash": {"fields": {"hash": "sha256:" + "0" * 64}},
        "no hash": {"fields": {"hash": ""}},
        "another state": {"fields": {"state": "approved"}},
        "an act that there is not": {"fields": {"act": "approve_all"}},
        "a run that climbs": {"path": "/console/decide/candidates/..%2F..%2Fx"},
        "a run that is cut": {"path": "/console/decide/candidates/2026"},
    }  # fmt: skip
    return cases


NAMES = sorted(attacks("http://127.0.0.1:1", "t" * 64, "h"))


@pytest.fixture(scope="module")
def honest(person: Person, run_id: str) -> dict[str, Any]:
    own = str(person.base_url).rstrip("/")
    page = person.get(f"/console/decide/candidates/{run_id}").text
    digest = re.search(r'name="hash" value="([^"]+)"', page)[1]
    return {
        "own": own, "token": person.token, "digest": digest, "path": f"/console/decide/candidates/{run_id}",
        "headers": {"origin": own, "sec-fetch-site": "same-origin"},
        "fields": {"token": person.token, "hash": digest, "state": "quarantine", "act": "approve"},
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_attack_acts(person: Person, place: Place, run_id: str, honest: dict[str, Any], name: str) -> None:
    case = attacks(honest["own"], honest["token"], honest["digest"])[name]
    headers = {
        key: value for key, value in {**honest["headers"], **case.get("headers", {})}.items() if value is not None
    }
    fields = {key: value for key, value in {**honest["fields"], **case.get("fields", {})}.items() if value is not None}
    cookies = case.get("cookies", dict(person.cookies))
    sent: dict[str, Any] = {"content": case["content"]} if "content" in case else {"data": fields}
    path = case.get("path", honest["path"]) + case.get("query", "")
    with httpx.Client(base_url=person.base_url, trust_env=False, verify=False, cookies=cookies, timeout=20) as client:
        answer = client.request(case.get("method", "POST"), path, headers=headers, **sent)
    folder = place.runs.folder(run_id)
    assert not (folder / APPROVAL_FILE).exists()
    assert not (folder / REJECTION_FILE).exists()
    assert place.runs.state(run_id).state == "quarantine"
    assert answer.status_code >= 400 or name == "GET instead of POST"


def test_there_are_thirty_attacks_at_least() -> None:
    assert len(NAMES) >= 30


def test_the_honest_request_acts(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, seed=3)
    digest = place.runs.state(run_id).hash
    answer = person.decide(f"/console/decide/candidates/{run_id}", hash=digest, state="quarantine", act="approve")
    assert answer.status_code == 303
    assert place.runs.state(run_id).state == "approved"


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
def test_pages_of_others_cannot_even_look(person: Person, headers: dict[str, str]) -> None:
    for path in ("/console/decide", "/console/chat", "/console/state", "/console/decide/list"):
        assert person.get(path, headers=headers).status_code == 403


def test_the_script_asks_with_its_token_alone(person: Person) -> None:
    body = {"messages": [{"role": "user", "content": "Say hello"}]}
    assert person.call("chat", body).status_code == 200
    for headers in ({"x-console-token": "no"}, {"x-console-token": ""}, {"origin": "https://evil.example"}):
        answer = person.call("chat", body, headers)
        assert answer.status_code == 403
        assert "choices" not in answer.text
    assert person.get("/console/api/chat").status_code == 405
    with httpx.Client(base_url=person.base_url, trust_env=False, verify=False) as stranger:
        own = str(person.base_url).rstrip("/")
        refused = stranger.post(
            "/console/api/chat", json=body, headers={"origin": own, "x-console-token": person.token}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "outside")


def test_a_cookie_of_the_console_is_no_key_of_the_api(place: Place) -> None:
    with serving(place, options=ServerOptions(api_key="k", episodes_dir=None)) as address, Person(address) as person:
        assert person.enter(place.doors).status_code == 200
        assert person.get("/v1/models").status_code == 401
        assert person.get("/console/state").status_code == 200
        assert person.call("chat", {"messages": [{"role": "user", "content": "hi"}]}).status_code == 200
        assert person.get("/consolex").status_code == 401


@pytest.fixture
def answers(person: Person, run_id: str) -> list[httpx.Response]:
    paths = (
        "/console/chat",
        "/console/decide",
        f"/console/decide/candidates/{run_id}",
        "/console/history",
        "/console/state",
    )
    with httpx.Client(base_url=person.base_url, trust_env=False, verify=False) as stranger:
        outside = [
            stranger.get("/console/decide"),
            stranger.get("/console/enter?key=x"),
            stranger.get("/console/static/console.css"),
        ]
    return [
        *(person.get(path) for path in paths),
        person.get("/console/nothing"),
        person.get("/console/static/no.css"),
        *outside,
    ]


def test_every_answer_carries_its_protection(answers: list[httpx.Response]) -> None:
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


def test_pages_hold_no_inline_script_style_or_foreign_address(answers: list[httpx.Response]) -> None:
    for answer in answers:
        if "html" not in answer.headers.get("content-type", ""):
            continue
        assert not re.findall(r"<script(?![^>]*(?:src=|application/json))", answer.text)
        assert not re.findall(r"\son\w+=|\sstyle=|javascript:|<style|<iframe", answer.text)
        assert not re.findall(r'(?:src|href|action)="(?!/console|#)', answer.text)


def test_the_cookie_is_for_this_server_alone(place: Place, address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False, verify=False) as client:
        answer = client.get("/console/enter", params={"key": place.doors.new_key()})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert "key" not in answer.headers["location"]
    assert cookie.startswith(f"vortex_console_{address.rpartition(':')[2]}=")
    for part in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age="):
        assert part in cookie


def test_a_used_link_a_wrong_key_and_no_session_say_what_to_do(place: Place, address: str) -> None:
    key = place.doors.new_key()
    with httpx.Client(base_url=address, trust_env=False, verify=False) as client:
        assert client.get("/console/enter", params={"key": key}).status_code == 303
    for path in (
        f"/console/enter?key={key}",
        "/console/enter?key=wrong",
        "/console/enter",
        "/console/decide",
        "/console",
    ):
        with httpx.Client(base_url=address, trust_env=False, verify=False) as client:
            answer = client.get(path)
        assert answer.status_code in {401, 403}
        assert "vortex console" in answer.text
        assert "vortex-token" not in answer.text


def test_signing_out_ends_it(place: Place, address: str) -> None:
    with Person(address) as leaving:
        leaving.enter(place.doors)
        cookies = dict(leaving.cookies)
        assert leaving.decide("/console/leave").status_code == 303
        with httpx.Client(base_url=address, trust_env=False, verify=False, cookies=cookies) as again:
            assert again.get("/console/decide").status_code == 401


def test_a_look_leads_nowhere_else(person: Person) -> None:
    for back in (
        "https://evil.example",
        "//evil.example",
        "/console//evil.example",
        "/console\\evil",
        "/v1",
        "/console\r\nx: y",
    ):
        assert person.decide("/console/look", language="es", theme="dark", back=back).headers["location"] == "/console"
    assert (
        person.decide("/console/look", language="xx", theme="none", back="/console/state").headers["location"]
        == "/console/state"
    )
    assert 'lang="es" data-theme="dark"' in person.get("/console/state").text
    person.decide("/console/look", language="en", theme="auto", back="/console")
