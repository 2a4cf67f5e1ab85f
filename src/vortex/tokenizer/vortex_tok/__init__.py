"""Vortex-Tok: bytes to codes of variable length and back, nothing lost (RNT-2).

`load_vortex_tokenizer` gives the shipped tokenizer or one from a folder; `train` makes one; `write_stream` and
`read_stream` keep encoded bytes in files. The formats are specified in docs/tokenizer.md.
"""

from vortex.tokenizer.vortex_tok.corpus import Corpus, corpus_of, read_corpus
from vortex.tokenizer.vortex_tok.files import load_vocabulary, save_vocabulary
from vortex.tokenizer.vortex_tok.stream_format import StreamTotals, read_stream, write_stream
from vortex.tokenizer.vortex_tok.tokenizer import VortexTokenizer, load_vortex_tokenizer
from vortex.tokenizer.vortex_tok.training import CorpusTooSmall, TrainingSettings, train
from vortex.tokenizer.vortex_tok.vocabulary import CodeClass, Parse, Vocabulary

__all__ = [
    "CodeClass",
    "Corpus",
    "CorpusTooSmall",
    "Parse",
    "StreamTotals",
    "TrainingSettings",
    "Vocabulary",
    "VortexTokenizer",
    "corpus_of",
    "load_vocabulary",
    "load_vortex_tokenizer",
    "read_corpus",
    "read_stream",
    "save_vocabulary",
    "train",
    "write_stream",
]
