"""A word counts for what was on the screen: refused where it changed since, or was decided meanwhile."""

from __future__ import annotations

import html
import re
import subprocess
import threading
from pathlib import Path

import pytest

from tests.console.material import FACTS, NEW, OLD, add_memories, add_patch, add_run
from tests.console.serving import Person, Place, serving
from vortex.cli.console.questions import open_questions
from vortex.learn.candidates.manifest import APPROVAL_FILE
from vortex.learn.candidates.runs import Runs


def at(run_id: str) -> str:
    return f"/console/decide/candidates/{run_id}"


def seen(place: Place, run_id: str) -> dict[str, str]:
    state = place.runs.state(run_id)
    return {"hash": state.hash, "state": state.state}


def test_a_candidate_is_shown_approved_used_and_taken_back(place: Place, person: Person) -> None:
    run_id = add_run(place.runs)
    listed = person.get("/console/decide").text
    assert run_id in listed
    page = html.unescape(person.get(at(run_id)).text)
    for text in (
        FACTS[0][1],
        FACTS[0][2],
        "4 of 4 right",
        "9 of 9 open",
        "7 of 8",
        "noise 2.0",
        place.runs.state(run_id).hash,
    ):
        assert text in page
    answer = person.decide(at(run_id), **seen(place, run_id), act="approve_use")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{at(run_id)}?said=used")
    assert (place.runs.folder(run_id) / APPROVAL_FILE).read_text() == place.runs.state(run_id).hash + "\n"
    assert place.runs.state(run_id).state == "current"
    assert "answers now" in person.get(answer.headers["location"]).text
    assert (
        person.decide("/console/history/back", current=run_id, to="").headers["location"]
        == "/console/history?said=back"
    )
    assert place.runs.state(run_id).state == "promoted"
    again = person.decide("/console/history/back", current="base", to=run_id, act="use")
    assert again.status_code == 303
    assert place.runs.state(run_id).state == "current"
    history = person.get("/console/history").text
    for word in ("was approved", "answers from here on", "was taken back", run_id):
        assert word in history
    late = person.decide("/console/history/back", current="base", to="base")
    assert (late.status_code, place.runs.state(run_id).state) == (409, "current")
    person.decide("/console/history/back", current=run_id, to="base")


def test_approving_alone_lets_nothing_answer(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, seed=5)
    person.decide(at(run_id), **seen(place, run_id), act="approve")
    assert place.runs.state(run_id).state == "approved"
    assert "Let it answer" in person.get(at(run_id)).text
    person.decide(at(run_id), **seen(place, run_id), act="use")
    assert place.runs.state(run_id).state == "current"
    person.decide("/console/history/back", current=run_id, to="base")


@pytest.mark.parametrize(
    "file", ["evaluation.json", "data.jsonl", "adapter/adapter_model.safetensors", "manifest.json"]
)
def test_a_candidate_that_changed_on_disk_is_refused(place: Place, person: Person, file: str) -> None:
    run_id = add_run(place.runs, seed=6)
    before = seen(place, run_id)
    path = place.runs.folder(run_id) / file
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    answer = person.decide(at(run_id), **before, act="approve_use")
    assert answer.status_code == 409
    assert "Not done." in answer.text
    assert not (place.runs.folder(run_id) / APPROVAL_FILE).exists()


def test_of_two_people_the_second_is_told(place: Place, address: str, person: Person) -> None:
    run_id = add_run(place.runs, seed=7)
    both = seen(place, run_id)
    with Person(address) as other:
        other.enter(place.doors)
        assert other.decide(at(run_id), **both, act="reject", reason="answers Zambia wrongly").status_code == 303
    late = person.decide(at(run_id), **both, act="approve_use")
    assert late.status_code == 409
    assert "rejected meanwhile" in late.text
    assert place.runs.state(run_id).state == "rejected"
    assert "It was rejected" in late.text


def test_of_many_at_the_same_moment_one_decides(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, seed=8)
    both, token, found = seen(place, run_id), person.token, []
    own = str(person.base_url).rstrip("/")

    def attempt(act: str) -> None:
        data = {"token": token, **both, "act": act, "reason": "no"}
        found.append(person.post(at(run_id), data=data, headers={"origin": own}).status_code)

    threads = [threading.Thread(target=attempt, args=(act,)) for act in ("approve", "reject") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [303, 409, 409, 409, 409, 409]
    assert place.runs.state(run_id).state in {"approved", "rejected"}


def test_closed_gates_offer_no_approval_and_take_none(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, figures={"kl": (0.4, "over 9120 tokens"), "near": (None, "no neighbouring questions")})
    page = person.get(at(run_id)).text
    assert "Approve" not in re.sub(r"<section class=.verdict.*", "", page, flags=re.S)
    assert 'value="approve' not in page
    for text in ("kl is 0.4", "near could not be measured", "not measured", "7 of 9 open"):
        assert text in page
    assert person.decide(at(run_id), **seen(place, run_id), act="approve").status_code == 409
    assert not (place.runs.folder(run_id) / APPROVAL_FILE).exists()


def test_a_rejection_says_why(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, seed=9)
    assert person.decide(at(run_id), **seen(place, run_id), act="reject", reason="  ").status_code == 422
    assert place.runs.state(run_id).state == "quarantine"
    person.decide(at(run_id), **seen(place, run_id), act="reject", reason="no <b>good</b>")
    assert place.runs.state(run_id).state == "rejected"
    assert "no &lt;b&gt;good" in person.get("/console/history").text


def test_strangers_text_stays_text(place: Place, person: Person) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}\u202egnp.exe \"' onmouseover=x"
    run_id = add_run(place.runs, facts=((attack, attack, attack),), figures={"taught": (1.0, attack)})
    place.memory.add(attack, source=attack)
    patch_id = add_patch(place.patches, new=OLD + f"# {attack}\n", goal=attack)
    for path in (
        at(run_id),
        "/console/decide",
        "/console/history",
        f"/console/decide/patches/{patch_id}",
        "/console/state?doctor=1",
    ):
        page = person.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(\S\S)", page)
    assert "U+202E" in person.get(at(run_id)).text


@pytest.fixture(scope="module")
def repository(place: Place) -> Path:
    source = place.repository / "src" / "shop"
    source.mkdir(parents=True)
    (source / "prices.py").write_text(OLD)
    for command in (
        ["init", "-q"],
        ["add", "src"],
        ["-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "a"],
    ):
        subprocess.run(
            ["git", *command],
            cwd=place.repository,
            check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(place.repository)},
        )
    for name, value in (("user.name", "a"), ("user.email", "a@localhost")):
        subprocess.run(["git", "config", name, value], cwd=place.repository, check=True)
    return place.repository


def test_a_patch_is_read_and_applied_on_a_branch(place: Place, person: Person, repository: Path) -> None:
    patch_id = add_patch(place.patches)
    path = f"/console/decide/patches/{patch_id}"
    page = html.unescape(person.get(path).text)
    for text in ("An empty basket", "<mark>max(</mark>", "6 passed, 0 failed", "small: few lines", patch_id):
        assert text in page
    fields = {"hash": patch_id, "state": "proposed"}
    assert person.decide(path, **{**fields, "hash": "0" * 16}, act="approve").status_code == 409
    assert person.decide(path, **fields, act="approve").status_code == 303
    shown = subprocess.run(
        ["git", "show", f"self-patch/{patch_id}:src/shop/prices.py"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == NEW
    assert (repository / "src" / "shop" / "prices.py").read_text() == OLD
    assert "git merge" in person.get(path).text
    assert person.decide(path, **fields, act="reject", reason="late").status_code == 409


def test_a_patch_that_was_edited_or_reaches_too_far_is_not_offered(
    place: Place, person: Person, repository: Path
) -> None:
    edited = add_patch(place.patches, new=OLD.replace("discount\n", "discount + 1\n", 1))
    diff = place.patches / edited / "patch.diff"
    diff.write_text(diff.read_text().replace("+ 1", "+ 9"))
    far = add_patch(place.patches, new=OLD + "import subprocess\n", goal="reach")
    for patch_id in (edited, far):
        page = person.get(f"/console/decide/patches/{patch_id}").text
        assert 'value="approve"' not in page
        state = "tampered" if patch_id == edited else "proposed"
        answer = person.decide(f"/console/decide/patches/{patch_id}", hash=patch_id, state=state, act="approve")
        assert answer.status_code == 409
    person.decide(f"/console/decide/patches/{far}", hash=far, state="proposed", act="reject", reason="no")
    assert person.get(f"/console/decide/patches/{far}").text.count("rejected") >= 1


def test_memories_are_kept_and_dropped_as_they_were_read(place: Place, person: Person) -> None:
    first, second = add_memories(place.data / "memory")
    page = person.get("/console/decide").text
    digests = dict(re.findall(r'memories/([^"]+)" class="acts">.*?name="hash" value="([^"]+)"', page, re.S))
    place.memory.edit(first, "The release is cut on a Friday.", source="tool")
    late = person.decide(f"/console/decide/memories/{first}", hash=digests[first], state="new", act="keep")
    assert late.status_code == 409
    assert "something else" in late.text
    assert (
        person.decide(f"/console/decide/memories/{second}", hash=digests[second], state="new", act="keep").status_code
        == 303
    )
    assert place.memory.history(second)[-1]["change"] == "kept"
    page = person.get("/console/decide").text
    assert f"memories/{second}" not in page
    digest = dict(re.findall(r'memories/([^"]+)" class="acts">.*?name="hash" value="([^"]+)"', page, re.S))[first]
    person.decide(f"/console/decide/memories/{first}", hash=digest, state="new", act="drop")
    assert [entry.id for entry in place.memory.entries() if entry.id == first] == []
    gone = person.decide(f"/console/decide/memories/{first}", hash=digest, state="new", act="drop")
    assert gone.status_code == 409


def asked(arguments: dict[str, object]) -> tuple[threading.Thread, list[bool]]:
    found: list[bool] = []
    thread = threading.Thread(
        target=lambda: found.append(open_questions().ask("run_command", "command", arguments, "asks first", wait_s=20))
    )
    thread.start()
    return thread, found


@pytest.mark.parametrize("act", ["allow", "deny"])
def test_a_call_waits_with_its_arguments_in_full(place: Place, person: Person, act: str) -> None:
    thread, found = asked({"command": ["sh", "-c", "x" * 3000 + "; rm -rf \u202e/"], "timeout_s": 60})
    while not (waiting := open_questions().waiting()):
        thread.join(0.02)
    page = person.get("/console/decide").text
    assert "x" * 3000 in page
    assert "U+202E" in page
    (one,) = waiting
    path = f"/console/decide/questions/{one.id}"
    assert person.decide(path, hash="0" * 64, state="waiting", act=act).status_code == 409
    assert person.decide(path, hash=one.hash, state="waiting", act=act).status_code == 303
    assert person.decide(path, hash=one.hash, state="waiting", act="allow").status_code == 409
    thread.join(10)
    assert found == [act == "allow"]
    assert open_questions().waiting() == []


def test_a_restarted_server_goes_on_where_it_was(place: Place) -> None:
    run_id = add_run(place.runs, seed=11)
    with serving(place) as address, Person(address) as person:
        person.enter(place.doors)
        fields, token = seen(place, run_id), person.token
        port, cookies = int(address.rpartition(":")[2]), dict(person.cookies)
    with serving(place, port=port) as address, Person(address) as again:
        again.cookies.update(cookies)
        data = {"token": token, **fields, "act": "approve"}
        assert again.post(at(run_id), data=data, headers={"origin": address}).status_code == 303
    assert Runs(place.data / "continuous").state(run_id).state == "approved"


def test_what_is_gone_or_damaged_says_so(place: Place, person: Person) -> None:
    assert person.get(at("20261128-000000-ffffff")).status_code == 404
    assert person.get("/console/decide/patches/ffff").status_code == 409
    assert person.get("/console/nothing/here").status_code == 404
    run_id = add_run(place.runs, seed=12)
    (place.runs.folder(run_id) / "extra.bin").write_text("x")
    page = person.get(at(run_id))
    assert page.status_code == 404
    assert "extra.bin" in page.text
    assert "extra.bin" in person.get("/console/decide").text


def test_it_speaks_spanish_to_who_asks_for_it(place: Place, person: Person) -> None:
    run_id = add_run(place.runs, seed=13)
    for path, words in (("/console/decide", "Lo que espera tu palabra"), (at(run_id), "Aprobar y dejar que responda")):
        page = person.get(path, headers={"accept-language": "es-AR,es;q=0.9,en;q=0.5"}).text
        assert '<html lang="es"' in page
        assert words in html.unescape(page)
    assert '<html lang="en"' in person.get("/console/decide", headers={"accept-language": "fr"}).text
