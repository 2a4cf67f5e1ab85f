"""A corpus that every machine has (the interpreter's own library) and a small vocabulary learnt from it."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest
from hypothesis import settings

from vortex.tokenizer.vortex_tok import (
    Corpus,
    TrainingSettings,
    VortexTokenizer,
    corpus_of,
    load_vortex_tokenizer,
    train,
)
from vortex.tokenizer.vortex_tok.core import IS_NATIVE
from vortex.tokenizer.vortex_tok.files import SHIPPED_FOLDER

settings.register_profile("house", deadline=None)  # a busy machine is no failure
settings.load_profile("house")


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    library = Path(sysconfig.get_paths()["stdlib"])
    return corpus_of([(library / name).read_bytes() for name in ("argparse.py", "typing.py", "ast.py", "inspect.py")])


@pytest.fixture(scope="session")
def folder(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    if not IS_NATIVE:  # learning takes minutes without the native core
        return Path(shutil.copytree(SHIPPED_FOLDER, folder, dirs_exist_ok=True))
    train(corpus, TrainingSettings(vocab_size=1024), folder, {"corpus": "four modules"}, lambda _: None)
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> VortexTokenizer:
    return load_vortex_tokenizer(folder)
