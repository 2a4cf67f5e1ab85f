"""Composition of learning: rows, runs, the model that learns, the plan of a training, promotion."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex.config.data_folder import data_path
from vortex.config.loading import LoadedSettings
from vortex.errors import MissingCapability, RequestError

if TYPE_CHECKING:
    from vortex.adapters.reading import ModelTargets
    from vortex.config.schema import Settings
    from vortex.hub.cache import ResolvedModel
    from vortex.learn.candidates.making import Made, Plan, Pupil
    from vortex.learn.candidates.promotion import Promotion
    from vortex.learn.candidates.runs import Runs
    from vortex.learn.candidates.served import Served
    from vortex.learn.material.rows import Row
    from vortex.learn.material.store import Material, RowStore, Taken
    from vortex.training.low_rank.loop import Ticked

TOKENS_OF_AN_ANSWER = 80  # prompt and corrected sentence together, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured: windows of each text, most questions of each kind (None: all), prompts the base is held
    on (None: as the settings say)."""

    windows: int = 6
    questions: int | None = None
    kept_prompts: int | None = None


SMALL = Sizes(windows=1, questions=4, kept_prompts=8)


def open_runs() -> Runs:
    from vortex.cli.adapter_shelf import candidates_here, promoted_here
    from vortex.learn.candidates.runs import Runs

    return Runs(data_path("continuous"), promoted_here(), candidates_here())


def row_store() -> RowStore:
    from vortex.learn.material.store import RowStore

    return RowStore(data_path("continuous"))


def ingest(paths: list[Path], settings: Settings | None = None) -> tuple[Taken, list[tuple[str, str]]]:
    """Corrections, lessons and files into the rows; and the files that were left out, with reasons.

    settings: with these, web pages too where they say so (continuous.ingest_web).
    """
    from itertools import chain

    from vortex.knowledge.documents.worker import DocumentWorker
    from vortex.learn.material.reading import Reading, rows_of_episodes
    from vortex.records.episodes import EpisodeStore

    with DocumentWorker() as worker:
        reading = Reading(worker.parse)
        own = chain(rows_of_episodes(EpisodeStore(data_path("episodes"))), _lessons())
        rows = chain(own, reading.paths(paths))
        if settings is not None and settings.continuous.ingest_web:
            rows = chain(rows, _web_pages(settings, reading.left_out))
        taken = row_store().add(rows)
    open_runs().journal.note("ingest", **taken.to_json())
    return taken, reading.left_out


def _web_pages(settings: Settings, left_out: list[tuple[str, str]]) -> Iterator[Row]:
    """Pages of allowed domains as running text; those that may not be read now join `left_out` with the reason."""
    from vortex.agent.web.ingestion import Ingestion
    from vortex.cli.tools import web_for
    from vortex.learn.material.rows import Row

    wanted = settings.continuous.ingest.web
    urls = wanted.urls or tuple(f"https://{domain.removeprefix('*.')}/" for domain in settings.tools.web.allow_domains)
    if not urls:
        left_out.append(("the web", "no domain is allowed; a person can add one to tools.web.allow_domains"))
    ingestion = Ingestion(
        web_for(settings),
        data_path("continuous", "web.json"),
        wanted.cooldown_minutes,
        wanted.max_depth,
        wanted.pages_per_domain,
        left_out,
    )
    for page in ingestion.rows(urls):
        yield Row(statement=page.text, source=page.origin, origin=page.url)


def _lessons() -> Iterator[Row]:
    """What a person corrected in `vortex chat`, or taught by hand."""
    from vortex.cli.knowing import open_memory
    from vortex.knowledge.memory.entries import Kind
    from vortex.learn.material.rows import Row

    for entry in open_memory().entries(Kind.LESSON):
        if entry.question:
            yield Row(
                question=entry.question,
                statement=entry.text,
                source="lesson",
                origin=entry.request_id or entry.id,
                created=entry.created,
            )


def material() -> Material:
    from vortex.learn.material.store import sort_out

    return sort_out(row_store().rows())


def promotion_for(loaded: LoadedSettings) -> Promotion:
    from vortex.adapters.reading import read_adapter
    from vortex.learn.candidates.promotion import Promotion

    def hash_of(folder: Path, model: str) -> str:
        return read_adapter(folder, targets_named(model, loaded)).hash

    return Promotion(open_runs(), hash_of, presence=loaded.settings.continuous.approval == "presence")


def targets_named(model: str, loaded: LoadedSettings) -> ModelTargets:
    """What an adapter for this model must fit, as this machine serves it."""
    from vortex.cli.adapter_shelf import targets_of

    return targets_of(resolved_named(model, loaded), loaded.settings.model.compute)


def resolved_named(model: str, loaded: LoadedSettings) -> ResolvedModel:
    from vortex.cli.download import download_progress
    from vortex.hub.names import resolve

    with download_progress() as sink:
        return resolve(model, progress=sink, allow_download=not loaded.settings.runtime.offline)


def train(loaded: LoadedSettings, sizes: Sizes, *, again: bool = False) -> Made:
    """A candidate of what is there to learn. again: also where nothing is new.

    Raises VortexError; RequestError where there is nothing to learn.
    """
    from vortex.cli.terminal import notice

    found, runs = material(), open_runs()
    if found.held:
        notice(f"{len(found.held)} rows wait for a person: vortex learn status")
    if not found.lessons:
        raise RequestError(
            "there is nothing to learn: correct an answer (/correct in `vortex chat`, or POST /v1/feedback), or "
            "`vortex learn ingest` a file of lessons"
        )
    with opened_pupil(loaded) as pupil:
        known = _taught(runs, pupil.name)
        earlier = [row for row in found.lessons if row.digest in known]
        new = [row for row in found.lessons if row.digest not in known]
        if not new and not again:
            raise RequestError("all lessons are in the current weights; correct an answer, or give --again")
        return make(pupil, loaded, sizes, (new or earlier, earlier if new else []), found.texts)


def make(
    pupil: Pupil,
    loaded: LoadedSettings,
    sizes: Sizes,
    lessons: tuple[list[Row], list[Row]],
    texts: Iterable[Row] = (),
    *,
    runs: Runs | None = None,
) -> Made:
    """lessons: new ones, earlier ones."""
    from vortex.cli.terminal import working
    from vortex.learn.candidates.making import Making

    with working("learning", lines_every_s=15) as say:
        plan = plan_of(loaded, pupil.served, sizes, list(texts), say)
        notes = {"base_bits": loaded.settings.continuous.base_bits}
        return Making(runs or open_runs(), pupil, plan, say, Ticker(say), notes).make(*lessons)


def _taught(runs: Runs, model: str) -> frozenset[str]:
    """Digests of the rows that the current adapter was trained on."""
    from vortex.learn.candidates.manifest import DATA_FILE
    from vortex.records.jsonl import read_jsonl

    current = runs.answering(model)
    if current is None or not current.run_id:
        return frozenset()
    return frozenset(str(line.get("digest")) for line in read_jsonl(runs.promoted / current.run_id / DATA_FILE))


def plan_of(loaded: LoadedSettings, served: Served, sizes: Sizes, texts: list[Row], say: Any) -> Plan:
    from vortex.learn.candidates.gates import Limits
    from vortex.learn.candidates.making import Plan
    from vortex.learn.candidates.ordinary import gate_questions, kept_rows
    from vortex.machine.measured import memory_available_bytes
    from vortex.training.low_rank.loop import Recipe

    wanted = loaded.settings.continuous
    recipe = Recipe(
        steps=wanted.steps,
        minutes=wanted.minutes,
        learning_rate=wanted.learning_rate,
        kl_weight=wanted.kl_weight,
        batch=max(1, wanted.batch_tokens // TOKENS_OF_AN_ANSWER),
        skip_under=wanted.stop_at,
        stop_at=wanted.stop_at,
        seed=wanted.seed,
    )
    count = wanted.kept_prompts if sizes.kept_prompts is None else sizes.kept_prompts
    cache = data_path("continuous", "kept", loaded.settings.model.name.replace("/", "--"))
    return Plan(
        recipe=recipe,
        limits=Limits(**wanted.gates.model_dump()),
        questions=gate_questions(served.tokenizer, sizes.windows, limit=sizes.questions),
        kept=kept_rows(served, count, [row.statement for row in texts], cache, say) if count else [],
        held_from=tuple(sorted({row.source for row in texts})) if count else (),
        rank=wanted.rank,
        alpha=wanted.alpha,
        kinds=[name.strip() for name in wanted.layers.split(",") if name.strip()],
        max_phrasings=wanted.phrasings,
        free_bytes=min(memory_available_bytes(), wanted.memory_mb * 10**6 or sys.maxsize),
    )


@contextmanager
def opened_pupil(loaded: LoadedSettings) -> Iterator[Pupil]:
    """The model that the settings name, open for answering, and how to open its weights for training."""
    from vortex.adapters.reading import ModelTargets
    from vortex.cli.composition import load_options, open_model, resolve_model
    from vortex.learn.candidates.making import Pupil
    from vortex.learn.candidates.served import Served
    from vortex.models.hf.opening import require_transformers
    from vortex.protocols import TakesAdapters

    require_transformers()
    opened = open_model(loaded)
    try:
        if not isinstance(opened.model, TakesAdapters) or opened.path is None or opened.identity is None:
            raise MissingCapability(f"{opened.name} takes no adapters as it is served here, so it cannot learn")
        resolved = resolve_model(loaded)
        identity = opened.identity
        four_bit = tuple(opened.model.adapter_targets()) if loaded.settings.continuous.base_bits == 4 else ()
        yield Pupil(
            name=opened.name,
            served=Served(opened.model, opened.tokenizer, opened.chat_format),
            targets=ModelTargets(opened.name, opened.model.adapter_targets(), identity),
            identity=identity(),
            open_network=lambda: _network(resolved, load_options(resolved, loaded), four_bit),
            systems=tuple(dict.fromkeys(("", loaded.settings.chat.system))),
        )
    finally:
        opened.model.close()


def _network(resolved: ResolvedModel, options: Any, four_bit: Sequence[str]) -> Any:
    """The model's own weights, dequantised, as transformers has them. four_bit: layers that are packed."""
    from dataclasses import replace

    from vortex.models.hf.folder import folder_of_gguf
    from vortex.models.hf.opening import open_transformers
    from vortex.models.weight_source import fingerprint

    folder = resolved.path
    if folder.is_file():
        folder = folder_of_gguf(folder, options.packed_root, fingerprint(folder))
    whole = replace(options, form="auto", budget_bytes=0)
    if not four_bit:
        return open_transformers(folder, whole)[0]
    from vortex.machine.torch_device import set_up_torch
    from vortex.training.low_rank.four_bit import pack_base

    network, _ = open_transformers(folder, replace(whole, device="cpu"))
    pack_base(network, four_bit, set_up_torch(options.device, options.threads))
    return network


class Ticker:
    """A line of progress with an estimate after every step."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __call__(self, tick: Ticked) -> None:
        left_s = tick.spent_s / tick.step * (tick.steps - tick.step)
        self._say(
            f"step {tick.step} of at most {tick.steps}: loss {tick.loss:.3f}, mean {tick.mean:.3f}, "
            f"distance {tick.kl:.3f} nats; {left_s / 60:.1f} min left at most"
        )
