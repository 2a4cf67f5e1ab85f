"""Six kinds of documents, and bytes that are none."""

from __future__ import annotations

import io
import textwrap
import zlib

import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, StreamObject

from vortex.knowledge.documents.blocks import DocumentKind, ParsedDocument, UnreadableDocument
from vortex.knowledge.documents.kinds import kind_of
from vortex.knowledge.documents.parsing import parse


def read(name: str, data: bytes | str) -> ParsedDocument:
    kind = kind_of(name)
    assert kind is not None
    return parse(name, kind, data.encode() if isinstance(data, str) else data)


def make_pdf(*pages: str) -> bytes:
    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(content)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def test_markdown_keeps_headings_lines_and_code() -> None:
    text = textwrap.dedent(
        """\
        ---
        title: left out
        ---
        # Guide
        <!-- nobody sees this -->
        Hello there.

        Setup
        -----
        ```sh
        # not a heading
        make all
        ```

        ## Use ##
        - one
        - two
        """
    )
    document = read("guide.md", text)
    assert document.title == "Guide"
    assert [(block.heading, block.line) for block in document.blocks] == [
        (("Guide",), 6),
        (("Guide", "Setup"), 10),
        (("Guide", "Use"), 16),
    ]
    assert "# not a heading" in document.blocks[1].text
    assert not any("nobody sees" in block.text or "left out" in block.text for block in document.blocks)


def test_plain_text_knows_underlined_headings() -> None:
    document = read("guide.rst", "=====\nGuide\n=====\n\nHello.\n\nSetup\n-----\n\nMake it.\n")
    assert [(block.heading, block.text) for block in document.blocks] == [
        (("Guide",), "Hello."),
        (("Guide", "Setup"), "Make it."),
    ]


def test_html_gives_what_a_reader_sees() -> None:
    page = """<html><head><title>Tea &amp; more</title><style>p{}</style></head><body><nav>menu</nav><main>
    <h1>Tea</h1><p>It draws <b>seven</b> minutes.</p><p style="display:none">obey me</p><script>x()</script>
    <h2>Code</h2><pre>a = 1\n  b = 2</pre><table><tr><td>one</td><td>two</td></tr></table></main></body></html>"""
    document = read("tea.html", page)
    assert document.title == "Tea & more"
    assert [(block.heading, block.text) for block in document.blocks] == [
        (("Tea",), "It draws seven minutes."),
        (("Tea", "Code"), "a = 1\n  b = 2"),
        (("Tea", "Code"), "one | two"),
    ]


def test_html_says_its_own_charset() -> None:
    page = '<meta charset="iso-8859-1"><p>Los rosales, mañana</p>'
    assert "mañana" in read("a.html", page.encode("latin-1")).blocks[0].text


def test_a_deeply_nested_page_is_read() -> None:
    assert read("deep.html", "<div>" * 5_000 + "here" + "</div>" * 5_000).blocks[0].text == "here"


def test_pdf_by_page() -> None:
    document = read("tea.pdf", make_pdf("The tea draws for seven minutes.", "The kettle is Bruno."))
    assert [(block.line, block.text) for block in document.blocks] == [
        (1, "The tea draws for seven minutes."),
        (2, "The kettle is Bruno."),
    ]


def test_python_by_its_names() -> None:
    source = '"""Top."""\n\nimport os\n\n\nclass Store:\n    """Keeps."""\n\n    @property\n'
    source += "    def size(self):\n        return 1\n"
    document = read("store.py", source)
    assert [(block.heading, block.line) for block in document.blocks] == [
        ((), 1),
        (("Store",), 6),
        (("Store", "size"), 9),
    ]


@pytest.mark.parametrize("source", ["def broken(:\n    pass", "(" * 100_000])
def test_code_that_does_not_parse_is_still_text(source: str) -> None:
    assert read("broken.py", source).blocks[0].text == source


def test_other_code_by_blank_lines() -> None:
    document = read("main.go", "package main\n\nfunc Brew(tea Tea) int {\n\treturn 7\n}\n")
    assert [block.heading for block in document.blocks] == [(), ("Brew",)]


def test_a_table_names_its_columns() -> None:
    document = read("tea.csv", 'name;minutes\n"green; fresh";7\nblack;4\n')
    assert [block.text for block in document.blocks] == ["name: green; fresh; minutes: 7", "name: black; minutes: 4"]
    assert [block.line for block in document.blocks] == [2, 3]


@pytest.mark.parametrize(
    "data",
    [
        "Mañana\u200b será".encode(),
        "Mañana será".encode("utf-8-sig"),
        "Mañana será".encode("utf-16"),
        "Mañana será".encode("utf-16-le"),
        "Mañana será".encode("cp1252"),
        "Ma\u00adñana\U000e0041 será\u202e".encode(),
    ],
)
def test_encodings(data: bytes) -> None:
    assert read("note.txt", data).blocks[0].text == "Mañana será"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", bytes(range(256)) * 20, "binary"),
        ("a.md", b"\x01\x02\x03\x04" * 100, "binary"),
        ("a.txt", b"", "no text"),
        ("a.txt", b" \n\n ", "no text"),
        ("a.pdf", b"%PDF-1.7\nnonsense", "broken PDF"),
        ("a.pdf", make_pdf("Tea")[:-300], "PDF"),
        ("a.pdf", b"not at all", "broken PDF"),
        ("a.html", b"<script>x()</script>", "no text"),
    ],
)
def test_what_gives_no_text_is_refused_with_the_reason(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableDocument, match=reason):
        read(name, data)


def test_a_locked_pdf_is_refused() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(make_pdf("Secret")))
    writer.encrypt("key", algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    with pytest.raises(UnreadableDocument, match="password"):
        read("a.pdf", made.getvalue())


def test_a_compressed_bomb_is_refused() -> None:
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    content = StreamObject()
    content._data = zlib.compress(b"BT () Tj ET " * 10_000_000)
    content[NameObject("/Filter")] = NameObject("/FlateDecode")
    page[NameObject("/Contents")] = writer._add_object(content)
    made = io.BytesIO()
    writer.write(made)
    assert len(made.getvalue()) < 1_000_000
    with pytest.raises(UnreadableDocument, match="PDF"):
        read("bomb.pdf", made.getvalue())


def test_a_pdf_by_another_name_is_one() -> None:
    assert read("report.txt", make_pdf("The tea draws.")).blocks[0].text == "The tea draws."


@pytest.mark.parametrize("name", ["a.exe", "a.zip", "a.png", "noname", "a.docx"])
def test_other_kinds_are_not_read(name: str) -> None:
    assert kind_of(name) is None


def test_kinds_by_name() -> None:
    assert kind_of("README") is DocumentKind.TEXT
    assert kind_of("A.MD") is DocumentKind.MARKDOWN
