"""Bits per byte of a torch network on held-out windows: what its losses cost, over the bytes they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class HeldOut:
    """windows: token ids [1 + predicted] each, as `batches.held_out_windows` gives them. bytes_of_id: int [vocab]."""

    def __init__(
        self, windows: Sequence[np.ndarray], bytes_of_id: np.ndarray, *, device: torch.device, batch: int = 16
    ) -> None:
        self._windows = sorted(windows, key=len, reverse=True)
        self._bytes_of_id, self._device, self._batch = bytes_of_id, device, batch

    @torch.no_grad()
    def bits_per_byte(self, network: nn.Module) -> float:
        """Special tokens cost bits and stand for no bytes."""
        network.eval()
        nats, num_bytes = 0.0, 0
        for begin in range(0, len(self._windows), self._batch):
            rows = self._windows[begin : begin + self._batch]
            width = max(map(len, rows))
            ids = torch.tensor(np.stack([np.pad(row, (0, width - len(row)), constant_values=-1) for row in rows]))
            ids = ids.to(self._device)
            targets = ids[:, 1:]
            logits = network(ids[:, :-1].clamp(min=0), with_mtp=False).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum", ignore_index=-1)
            nats += float(loss)
            num_bytes += sum(int(self._bytes_of_id[row[1:]].sum()) for row in rows)
        return nats / math.log(2) / max(1, num_bytes)
