"""What is measured of the machine is a plausible figure, and a driver's answer is read as it is written."""

from __future__ import annotations

from pathlib import Path

from vortex.machine.gpu import Gpu, parse_gpus
from vortex.machine.measured import (
    describe_machine,
    disk_free_bytes,
    disk_read_bytes_per_s,
    memory_available_bytes,
    memory_total_bytes,
)


def test_memory_is_measured() -> None:
    assert 0 < memory_available_bytes() <= memory_total_bytes()


def test_a_file_is_read_whole_where_its_end_is_not_on_a_page(tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_bytes(bytes((20 << 20) + 123))
    assert disk_read_bytes_per_s(file).bytes_per_s > 1e6


def test_free_space_is_known_before_a_folder_exists(tmp_path: Path) -> None:
    assert disk_free_bytes(tmp_path / "not" / "yet") > 0


def test_the_machine_has_a_name() -> None:
    assert describe_machine()["cpu"]


def test_a_drivers_answer_is_read() -> None:
    text = "NVIDIA GeForce RTX 4080, 16376\nNVIDIA-SMI has failed because\n, 12\nOdd, name, 8188\n"
    assert parse_gpus(text) == [Gpu("NVIDIA GeForce RTX 4080", 16376 << 20), Gpu("Odd, name", 8188 << 20)]
