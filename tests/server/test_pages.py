"""`/` and `/docs` are pages that need nobody else's server."""

from __future__ import annotations

import re

import pytest

BODIES = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/embeddings": "input"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_nothing_from_elsewhere(serve, path: str) -> None:
    page = serve().get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert not re.search(r'(src|href)="(?!/)', page.text)
    assert "@import" not in page.text


def test_the_first_page_leads_to_places_that_are_there(serve) -> None:
    client = serve()
    page = client.get("/").text
    links = re.findall(r'href="([^"]+)"', page)
    assert "/docs" in links
    assert {client.get(link).status_code for link in links} == {200}
    assert f"curl {client.base_url}" in page


def test_the_reference_names_every_endpoint_and_its_fields(serve) -> None:
    client = serve()
    page = client.get("/docs").text
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page
    for path, field in BODIES.items():
        section = page.partition(f"POST {path}</code>")[2].partition("<h2>")[0]
        assert f"<code>{field}</code>" in section
