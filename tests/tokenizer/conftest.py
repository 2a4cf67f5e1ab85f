"""The default model's tokenizer, from the real file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.hub.names import resolve
from vortex.models.files.gguf import GgufFile
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer


@pytest.fixture(scope="session")
def default_files() -> TokenizerFiles:
    return tokenizer_files_from_gguf(GgufFile(resolve("smollm2-135m").path).metadata)


@pytest.fixture(scope="session")
def default_folder(default_files: TokenizerFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    default_files.save(folder)
    return folder


@pytest.fixture(scope="session")
def default_tokenizer(default_folder: Path) -> HouseTokenizer:
    return load_tokenizer(default_folder)
