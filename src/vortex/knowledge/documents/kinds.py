"""Which kind of document a file is: by its suffix, and PDF by its first bytes. What is on no list is not read."""

from __future__ import annotations

from pathlib import PurePath

from vortex.knowledge.documents.blocks import DocumentKind

_MARKDOWN = {".md", ".markdown", ".mdx", ".qmd", ".rmd"}
_HTML = {".html", ".htm", ".xhtml"}
_TABLE = {".csv", ".tsv"}
_TEXT = {".txt", ".text", ".rst", ".adoc", ".asciidoc", ".org", ".tex", ".textile", ".srt", ".vtt", ".eml"}
_CODE = {
    ".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cs", ".java", ".kt", ".kts", ".scala", ".go",
    ".rs", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".vue", ".svelte", ".rb", ".php", ".pl", ".lua", ".r", ".jl",
    ".swift", ".m", ".mm", ".dart", ".ex", ".exs", ".erl", ".hs", ".ml", ".clj", ".sql", ".sh", ".bash", ".zsh",
    ".fish", ".ps1", ".bat", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".json", ".css", ".scss", ".cmake", ".gradle",
    ".tf", ".proto", ".graphql", ".zig", ".nim", ".v", ".vhd", ".asm", ".s", ".cu", ".cuh",
}  # fmt: skip
_NAMES = {
    "readme": DocumentKind.TEXT, "license": DocumentKind.TEXT, "changelog": DocumentKind.TEXT,
    "authors": DocumentKind.TEXT, "notice": DocumentKind.TEXT, "todo": DocumentKind.TEXT,
    "makefile": DocumentKind.CODE, "dockerfile": DocumentKind.CODE,
}  # fmt: skip
_PDF_MARK = b"%PDF-"


def kind_of(name: str) -> DocumentKind | None:
    """By the file's name; None: a kind that is not read."""
    path = PurePath(name)
    suffix = path.suffix.lower()
    for suffixes, kind in (
        (_MARKDOWN, DocumentKind.MARKDOWN),
        (_HTML, DocumentKind.HTML),
        (_TABLE, DocumentKind.TABLE),
        (_TEXT, DocumentKind.TEXT),
        (_CODE, DocumentKind.CODE),
        ({".pdf"}, DocumentKind.PDF),
    ):
        if suffix in suffixes:
            return kind
    return _NAMES.get(path.name.lower()) if not suffix else None


def is_pdf(data: bytes) -> bool:
    return _PDF_MARK in data[:1024]
