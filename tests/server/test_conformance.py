"""The OpenAPI document holds, and schemathesis finds nothing (it is run where `schemathesis` is on the PATH)."""

from __future__ import annotations

import shutil
import subprocess

import httpx
import pytest

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"


def test_the_document_describes_every_body_and_one_error_shape(plain: httpx.Client) -> None:
    document = plain.get("/openapi.json").json()
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"):
        operation = document["paths"][path]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert "properties" in document["components"]["schemas"][reference.rsplit("/", 1)[1]]
        assert operation["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")
    assert "422" not in str(document["paths"])


@pytest.mark.peer
def test_schemathesis_finds_no_server_error(plain: httpx.Client) -> None:
    program = shutil.which("schemathesis")
    if program is None:
        pytest.fail("schemathesis is not installed: pip install schemathesis, into an environment of its own")
    options = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "60", "--no-color"]
    run = subprocess.run(
        [program, "run", f"{plain.base_url}/openapi.json", *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
