"""`vortex tokenizer-train` and `vortex tokenizer encode | decode | inspect`: Vortex-Tok from the command line.

Data goes to stdout, everything said about it to stderr; files appear whole or not at all.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.made import made_folder
from vortex.cli.options import ProfileOption, SetOption

if TYPE_CHECKING:
    from rich.text import Text

    from vortex.tokenizer.vortex_tok import VortexTokenizer

STREAM_SUFFIX = ".vxt"
PANEL = "Improve"
STYLES = {"esc": "white on red", "patch": "cyan", "macro": "bold green"}

TokenizerOption = Annotated[
    Path | None, typer.Option("--tokenizer", help="Folder of a tokenizer; without it, the one that ships with Vortex.")
]
FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Any file.")]


def register(app: typer.Typer) -> None:
    app.command("tokenizer-train", rich_help_panel=PANEL)(train)
    group = typer.Typer(help="Bytes to codes and back with Vortex-Tok, nothing lost.", no_args_is_help=True)
    group.command("encode")(encode)
    group.command("decode")(decode)
    group.command("inspect")(inspect)
    app.add_typer(group, name="tokenizer", rich_help_panel=PANEL)


def train(
    *,
    corpus: Annotated[
        list[Path] | None, typer.Option("--corpus", help="A text file or a folder of them. Repeatable.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", help="All ids: bytes, pieces, special tokens; 16384 by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write, data/tokenizer; an interrupted run goes on there.")
    ] = None,
    parse: Annotated[str | None, typer.Option("--parse", help="How text is cut: fewest, unigram or greedy.")] = None,
    limit_mb: Annotated[int, typer.Option("--limit-mb", min=1, help="Most text to read; memory follows it.")] = 64,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the corpus, written beside the result.")] = "",
    profile: ProfileOption = None,
    set_: SetOption = None,
) -> None:
    """Train a Vortex-Tok vocabulary. Without --corpus: data/corpora, or Python's own library where there is none."""
    from dataclasses import replace

    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice, warn
    from vortex.tokenizer.vortex_tok import CodeClass, CorpusTooSmall, Parse, TrainingSettings, read_corpus, train
    from vortex.tokenizer.vortex_tok.core import IS_NATIVE

    wanted = settings_for(
        profile, set_, {"vortex_tok.vocab_size": vocab_size, "vortex_tok.parse": parse}
    ).settings.vortex_tok
    settings = TrainingSettings(vocab_size=wanted.vocab_size, parse=Parse(wanted.parse))
    if not IS_NATIVE:
        warn("the native core is not built: training will take a hundred times longer (install a C++ compiler)")
    paths, out = corpus or _default_corpus(), out or made_folder("tokenizer")
    read = read_corpus(paths, limit_mb << 20)
    notice(f"corpus: {read.num_files:,} files, {len(read.data) / 1e6:.1f} MB of {', '.join(map(str, paths))}")
    if read.left_out:
        notice(f"left out: {read.left_out:,} files that are not text")
    origin = {"corpus": ", ".join(path.name for path in paths), "licence": licence}
    try:
        vocabulary = train(read, settings, out, origin, notice)
    except CorpusTooSmall as error:
        if vocab_size is not None or not error.possible_size:
            raise
        warn(f"the text fills {error.possible_size:,} ids, so there will be no {settings.vocab_size:,}")
        settings = replace(settings, vocab_size=error.possible_size)
        vocabulary = train(read, settings, out, origin, notice)
    counts = ", ".join(f"{vocabulary.count(kind):,} {kind.value}" for kind in CodeClass)
    typer.echo(f"{out}: {vocabulary.size:,} ids ({counts})")
    if vocabulary.size < settings.vocab_size:
        warn(f"{settings.vocab_size - vocabulary.size} fewer ids than asked: the text uses no more pieces often enough")


def _default_corpus() -> list[Path]:
    import sysconfig

    from vortex.cli.terminal import notice

    corpora = made_folder("corpora")
    if corpora.is_dir() and any(path.is_file() for path in corpora.rglob("*")):
        return [corpora]
    notice(f"no {corpora} here: learning from the standard library of this Python")
    return [Path(sysconfig.get_paths()["stdlib"])]


def encode(
    file: FileArgument,
    *,
    tokenizer: TokenizerOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for the codes; FILE.vxt if not named.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Print the number of tokens, alone on the last line.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Decode again and compare every byte.")] = False,
) -> None:
    """Write a file as codes. With --count and without --out nothing is written, only counted."""
    from vortex.cli.terminal import notice
    from vortex.records.atomic import atomic_write
    from vortex.tokenizer.vortex_tok import write_stream

    loaded = _load(tokenizer)
    target = out or (None if count else file.with_name(file.name + STREAM_SUFFIX))
    with file.open("rb") as source:
        if target:
            with atomic_write(target) as stream:
                totals = write_stream(loaded, source, stream)
        else:
            totals = write_stream(loaded, source, None)
    notice(f"{totals.num_bytes:,} bytes, {totals.num_codes:,} tokens" + (f" in {target}" if target else ""))
    if check:
        _check(loaded, file, target)
        notice("decoded again: every byte is the same")
    if count:
        typer.echo(str(totals.num_codes))


def _check(tokenizer: VortexTokenizer, file: Path, target: Path | None) -> None:
    """Raise where decoding does not give the file back."""
    from vortex.errors import ModelFileError
    from vortex.tokenizer.vortex_tok import read_stream, write_stream

    with file.open("rb") as source, target.open("rb") if target else tempfile.TemporaryFile() as stream:
        if not target:
            write_stream(tokenizer, source, stream)
            stream.seek(0)
            source.seek(0)
        same = all(source.read(len(data)) == data for data in read_stream(tokenizer, stream))
        if not same or source.read(1):
            raise ModelFileError(f"{file} does not come back as it was: please report this")


def decode(
    file: FileArgument,
    *,
    tokenizer: TokenizerOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if not named.")] = None,
) -> None:
    """Write the bytes of a file of codes."""
    from vortex.cli.terminal import notice
    from vortex.records.atomic import atomic_write
    from vortex.tokenizer.vortex_tok import read_stream

    loaded = _load(tokenizer)
    with file.open("rb") as source:
        if out:
            with atomic_write(out) as target:
                target.writelines(read_stream(loaded, source))
            notice(f"{out}: {out.stat().st_size:,} bytes")
        else:
            sys.stdout.buffer.writelines(read_stream(loaded, source))
            sys.stdout.buffer.flush()


def inspect(
    file: FileArgument,
    *,
    tokenizer: TokenizerOption = None,
    num_bytes: Annotated[int, typer.Option("--bytes", min=1, help="Show this many bytes from the start.")] = 2000,
) -> None:
    """Show how a file is cut into pieces: ESC on red, PATCH in cyan, MACRO in bold green; ids per class below."""
    from collections import Counter

    from vortex.cli.terminal import output
    from vortex.tokenizer.vortex_tok import CodeClass

    loaded = _load(tokenizer)
    with file.open("rb") as source:
        data = source.read(num_bytes)
    codes = loaded.encode_bytes(data).tolist()
    console = output()
    console.print(_pieces(loaded, codes), soft_wrap=True)
    counts = Counter(loaded.vocabulary.class_of(code) for code in codes)
    spent = Counter[CodeClass]()
    for code in codes:
        spent[loaded.vocabulary.class_of(code)] += len(loaded.token_bytes(code))
    for kind in (CodeClass.ESC, CodeClass.PATCH, CodeClass.MACRO):
        typer.echo(f"{kind.value:6} {counts[kind]:>8,} tokens {spent[kind]:>10,} bytes")
    per_token = len(data) / len(codes) if codes else 0.0
    typer.echo(f"{'all':6} {len(codes):>8,} tokens {len(data):>10,} bytes, {per_token:.2f} bytes per token")


def _pieces(tokenizer: VortexTokenizer, codes: list[int]) -> Text:
    """Pieces with a bar between them, in the colour of their class; what has no face is spelled out."""
    from rich.text import Text

    shown = Text()
    for code in codes:
        piece = tokenizer.token_bytes(code)
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            text = "".join(f"<{byte:02x}>" for byte in piece)
        faces = (char if char.isprintable() else "⏎\n" if char == "\n" else f"<{ord(char):02x}>" for char in text)
        shown.append("".join(faces), STYLES[tokenizer.vocabulary.class_of(code).value])
        shown.append("|", "dim")
    return shown


def _load(folder: Path | None) -> VortexTokenizer:
    from vortex.tokenizer.vortex_tok import load_vortex_tokenizer

    return load_vortex_tokenizer(folder) if folder else load_vortex_tokenizer()
