"""`vortex bench knowledge scale`: a hundred thousand passages: how long a search takes, how much the index weighs.

Passages are sentences of real documentation in new orders; vectors are real ones with noise added (a scan's time does
not depend on what they hold), since embedding so many takes an hour. The question's own vector is computed each time
and counts. Peers do the part that they can: sqlite-vec, FAISS and LanceDB (in an interpreter of its own, which times
itself) are asked for the nearest vectors, in turns with ours, a question each.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vortex.bench.knowledge.retrieval import SearchSet, prepare
from vortex.bench.measurement import CheckFailed
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.knowledge.chunking import Passage, count_tokens
from vortex.knowledge.documents.blocks import DocumentKind
from vortex.knowledge.embedding import Embedder
from vortex.knowledge.grounding.quoting import split_sentences
from vortex.knowledge.search.search import KnowledgeSearch, SearchOptions
from vortex.knowledge.search.vectors import VectorIndex
from vortex.knowledge.store.quantised import from_blobs
from vortex.knowledge.store.records import FileState, NewDocument
from vortex.knowledge.store.store import KnowledgeStore

PASSAGES_A_DOCUMENT = 500
NOISE = 0.5
NEAREST = 50
LANCEDB = "LanceDB, exact"


@dataclass(slots=True)
class ScaleMeasurement:
    folder: Path
    embedder: Embedder
    passages: int = 100_000
    searches: int = 200
    lancedb_python: str | None = None  # the interpreter that has LanceDB
    _times: dict[str, list[float]] = field(default_factory=dict)
    _busy: dict[str, list[float]] = field(default_factory=dict)  # processor time of the same work, on any load

    def check(self) -> None:
        """The nearest vectors that the index finds are those of a plain product."""
        found = prepare(self.folder, self.embedder)
        index = VectorIndex()
        index.refresh(found.store)
        query = self.embedder.vectors([found.asked[0].text])[0]
        codes, scales = from_blobs(
            [row[0] for row in found.store.connection.execute("SELECT vector FROM vectors ORDER BY passage_id")]
        )
        plain = (codes.astype(np.float32) @ query) * scales
        ours = [passage_id for passage_id, _ in index.nearest(query, 10)]
        if set(ours) != {int(index.ids[i]) for i in np.argsort(-plain)[:10]}:
            raise CheckFailed("the index does not find the nearest vectors")
        found.store.close()

    def measure(self) -> Report:
        found = prepare(self.folder, self.embedder)
        path = self.folder / f"scale-{self.passages}.sqlite3"
        words_s, vectors_s = self.fill(path, found)
        store = KnowledgeStore(path)
        search = KnowledgeSearch(store, self.embedder)
        started = time.perf_counter()
        search.search("warm", SearchOptions())
        open_s = time.perf_counter() - started
        self._ask(search, found)
        vectors, peers = self._peers(store, found)
        text_bytes = int(store.connection.execute("SELECT sum(length(text)) FROM passages").fetchone()[0])
        store.close()
        found.store.close()
        figures: dict[str, object] = {
            "passages": self.passages,
            "search_ms": _percentiles(self._times["search"]),
            "of_that_embedding_ms": _percentiles(self._times["embed"]),
            "nearest_ms": _percentiles(self._times["nearest"]),
            "processor_ms": {name: _percentiles(busy) for name, busy in self._busy.items()},
            "file_mb": round(path.stat().st_size / 1e6, 1),
            "text_mb": round(text_bytes / 1e6, 1),
            "vectors_mb": round(vectors.nbytes / 4 * (1 + 4 / vectors.shape[1]) / 1e6, 1),
            "words_s_per_1000": round(1000 * words_s / self.passages, 3),
            "vectors_s_per_1000": round(1000 * vectors_s / self.passages, 3),
            "open_s": round(open_s, 2),
            "peers": {name: {**peer, **_percentiles(self._times[name])} for name, peer in peers.items()},
        }
        return Report(
            "knowledge-scale",
            f"{self.passages:,} passages, {self.searches} questions",
            ("what", "median ms", "p95 ms", "processor ms, p95", "MB", "s per 1,000, without embedding"),
            self._rows(figures, peers),
            figures,
        )

    def _rows(self, figures: Mapping[str, Any], peers: Mapping[str, Mapping[str, object]]) -> list[tuple[str, ...]]:
        seconds = figures["words_s_per_1000"] + figures["vectors_s_per_1000"]
        whole = ("Vortex, the whole search", *self._cells("search"))
        nearest = ("Vortex, nearest vectors", *self._cells("nearest"))
        rows: list[tuple[str, ...]] = [
            (*whole, f"{figures['file_mb']} (with text and words)", f"{seconds:.2f}"),
            (*nearest, f"{figures['vectors_mb']}", f"{figures['vectors_s_per_1000']}"),
        ]
        for name, peer in peers.items():
            rows.append((name, *self._cells(name), f"{peer['index_mb']}", f"{peer['s_per_1000']}"))
        return rows

    def _cells(self, name: str) -> tuple[str, str, str]:
        wall, busy = _percentiles(self._times[name]), _percentiles(self._busy[name])
        return f"{wall['median']:.1f}", f"{wall['p95']:.1f}", f"{busy['p95']:.1f}"

    def fill(self, path: Path, found: SearchSet) -> tuple[float, float]:
        """Seconds for texts with their words, and for vectors; a store that is full already says how long it took."""
        took = path.with_suffix(".json")
        if path.exists() and took.exists():
            words_s, vectors_s = json.loads(took.read_text())
            return float(words_s), float(vectors_s)
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        store = KnowledgeStore(path)
        seconds = self._fill(store, found)
        store.scrub()
        store.close()
        took.write_text(json.dumps(seconds))
        return seconds

    def _fill(self, store: KnowledgeStore, found: SearchSet) -> tuple[float, float]:
        texts = [row[0] for row in found.store.connection.execute("SELECT text FROM passages")]
        sentences = [text[a:b].strip() for text in texts for a, b in split_sentences(text)]
        chance = random.Random(0)
        source = store.add_source(str(self.folder / "scale"))
        started, made = time.perf_counter(), 0.0
        for start in range(0, self.passages, PASSAGES_A_DOCUMENT):
            before = time.perf_counter()
            size = min(PASSAGES_A_DOCUMENT, self.passages - start)
            document = _document(start, [_passage(chance, sentences) for _ in range(size)])
            made += time.perf_counter() - before
            store.put_document(source, document)
        words_s = time.perf_counter() - started - made
        store.use_embedder(self.embedder.name)
        real = _vectors_of(found.store)
        noise = np.random.default_rng(0)
        vectors_s = 0.0
        while batch := store.pending(2000):
            rows = real[noise.integers(0, len(real), len(batch))]
            rows = rows + noise.standard_normal(rows.shape, np.float32) * np.float32(NOISE / np.sqrt(rows.shape[1]))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            before = time.perf_counter()
            store.set_vectors([passage_id for passage_id, _ in batch], rows)
            vectors_s += time.perf_counter() - before
        return words_s, vectors_s

    def _ask(self, search: KnowledgeSearch, found: SearchSet) -> None:
        asked = [question.text for question in found.asked[: self.searches]]
        for text in asked:
            self._time("embed", partial(self.embedder.vectors, [text]))
            self._time("search", partial(search.search, text, SearchOptions()))

    def _peers(self, store: KnowledgeStore, found: SearchSet) -> tuple[np.ndarray, dict[str, dict[str, object]]]:
        vectors = _vectors_of(store)
        queries = self.embedder.vectors([question.text for question in found.asked[: self.searches]])
        index = VectorIndex()
        index.refresh(store)
        ask: dict[str, Callable[[np.ndarray], object]] = {"nearest": lambda query: index.nearest(query, NEAREST)}
        peers: dict[str, dict[str, object]] = {}
        for name, build in (("sqlite-vec", _sqlite_vec), ("FAISS, flat", _faiss_flat), ("FAISS, int8", _faiss_int8)):
            built = build(vectors, self.folder)
            if built is not None:
                ask[name], peers[name] = built
        with ExitStack() as stack:
            lance = stack.enter_context(Peer("lancedb", self.lancedb_python)) if self.lancedb_python else None
            if lance is not None:
                peers[LANCEDB] = self._build_lancedb(lance, vectors)
            for query in queries:
                for name, function in ask.items():
                    self._time(name, partial(function, query))
                if lance is not None:
                    told = lance.ask("nearest", query=query.tolist(), limit=NEAREST)
                    self._times.setdefault(LANCEDB, []).append(told["wall_ms"])
                    self._busy.setdefault(LANCEDB, []).append(told["processor_ms"])
        return vectors, peers

    def _build_lancedb(self, lance: Peer, vectors: np.ndarray) -> dict[str, object]:
        file = self.folder / "vectors.npy"
        np.save(file, vectors)
        built = lance.ask("build", vectors=str(file), folder=str(self.folder / "lancedb"))
        file.unlink()
        return _about(int(built["bytes"]), float(built["seconds"]), len(vectors), lance.version)

    def _time(self, name: str, work: Callable[[], object]) -> None:
        started, busy = time.perf_counter(), time.process_time()
        work()
        self._times.setdefault(name, []).append(1000 * (time.perf_counter() - started))
        self._busy.setdefault(name, []).append(1000 * (time.process_time() - busy))


Neighbour = tuple[Callable[[np.ndarray], object], dict[str, object]]


def _sqlite_vec(vectors: np.ndarray, folder: Path) -> Neighbour | None:
    """Its vec0 table with float32 vectors, as its documentation has it; None where it cannot be used."""
    if importlib.util.find_spec("sqlite_vec") is None or not hasattr(sqlite3.Connection, "enable_load_extension"):
        return None  # not there, or a Python whose SQLite takes no extensions
    import sqlite_vec

    path = folder / "sqlite-vec.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.enable_load_extension(True)
    sqlite_vec.load(connection)
    started = time.perf_counter()
    connection.execute(
        f"CREATE VIRTUAL TABLE items USING vec0(embedding float[{vectors.shape[1]}] distance_metric=cosine)"
    )
    with connection:
        connection.executemany(
            "INSERT INTO items(rowid, embedding) VALUES (?, ?)", ((i, row.tobytes()) for i, row in enumerate(vectors))
        )
    took = time.perf_counter() - started
    statement = "SELECT rowid, distance FROM items WHERE embedding MATCH ? AND k = ?"
    about = _about(path.stat().st_size, took, len(vectors), sqlite_vec.__version__)
    return (lambda query: connection.execute(statement, (query.tobytes(), NEAREST)).fetchall()), about


def _faiss_flat(vectors: np.ndarray, folder: Path) -> Neighbour | None:
    return _faiss(vectors, lambda faiss: faiss.IndexFlatIP(vectors.shape[1]), 4)


def _faiss_int8(vectors: np.ndarray, folder: Path) -> Neighbour | None:
    def make(faiss: Any) -> Any:
        kind = faiss.ScalarQuantizer.QT_8bit
        return faiss.IndexScalarQuantizer(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)

    return _faiss(vectors, make, 1)


def _faiss(vectors: np.ndarray, make: Callable[[Any], Any], bytes_each: int) -> Neighbour | None:
    if importlib.util.find_spec("faiss") is None:
        return None
    import faiss

    started = time.perf_counter()
    index = make(faiss)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    took = time.perf_counter() - started
    return (lambda query: index.search(query[None], NEAREST)), _about(
        vectors.size * bytes_each, took, len(vectors), faiss.__version__
    )


def _about(size_bytes: int, took_s: float, count: int, version: str) -> dict[str, object]:
    return {"index_mb": round(size_bytes / 1e6, 1), "s_per_1000": round(1000 * took_s / count, 4), "version": version}


def _vectors_of(store: KnowledgeStore) -> np.ndarray:
    rows = store.connection.execute("SELECT vector FROM vectors ORDER BY passage_id")
    codes, scales = from_blobs([vector for (vector,) in rows])
    return codes.astype(np.float32) * scales[:, None]


def _passage(chance: random.Random, sentences: Sequence[str]) -> Passage:
    parts: list[str] = []
    tokens = 0
    while tokens < 250:
        parts.append(chance.choice(sentences))
        tokens += max(1, count_tokens(parts[-1]))
    return Passage(" ".join(parts), ("made", "of sentences"), 1, 1, tokens)


def _document(number: int, made: Sequence[Passage]) -> NewDocument:
    return NewDocument(
        path=f"/made/{number}.txt",
        kind=DocumentKind.TEXT,
        title=f"made {number}",
        state=FileState(size_bytes=0, mtime_ns=0),
        digest=str(number),
        passages=tuple(made),
    )


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    return {"median": round(float(np.median(times_ms)), 1), "p95": round(float(np.percentile(times_ms, 95)), 1)}
