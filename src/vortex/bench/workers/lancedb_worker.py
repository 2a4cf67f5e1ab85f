"""LanceDB behind `worker_loop`: a table of vectors on disk, asked for the nearest ones by an exact scan (no index)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Worker:
    def __init__(self) -> None:
        self._table: Any = None

    def version(self) -> dict[str, Any]:
        import lancedb

        return {"version": lancedb.__version__}

    def build(self, vectors: str, folder: str) -> dict[str, Any]:
        """vectors: a .npy file, [passages, width] float32. Gives seconds and bytes on disk."""
        import lancedb
        import numpy as np
        import pyarrow as pa

        rows = np.load(vectors)
        started = time.perf_counter()
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        data = pa.table({"id": pa.array(range(len(rows))), "vector": values})
        self._table = lancedb.connect(folder).create_table("items", data, mode="overwrite")
        took_s = time.perf_counter() - started
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        return {"seconds": took_s, "bytes": size}

    def nearest(self, query: list[float], limit: int) -> dict[str, Any]:
        """Ids, best first, and the milliseconds of wall and processor that it took in here."""
        import numpy as np

        vector = np.array(query, np.float32)
        started, busy = time.perf_counter(), time.process_time()
        found = self._table.search(vector).distance_type("cosine").limit(limit).select(["id"]).to_arrow()
        wall_ms, busy_ms = 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - busy)
        return {"ids": found["id"].to_pylist(), "wall_ms": wall_ms, "processor_ms": busy_ms}
