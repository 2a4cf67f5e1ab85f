"""`vortex chat "…"` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess


def test_the_answer_alone_is_on_stdout(vortex) -> None:
    result = vortex.run("chat", "--backend", "fake", "What is the capital of France?", TERM="xterm-256color")
    assert (result.returncode, result.stdout) == (0, "Paris.\n")
    assert "\x1b" not in result.stderr, "no colour codes without a terminal"
    assert "2 tokens" in result.stderr
    assert "tokens/s" in result.stderr


def test_json_is_one_object(inside) -> None:
    result = inside.run("chat", "--backend", "fake", "--json", "What is the capital of France?")
    answer = json.loads(result.stdout)
    assert (answer["text"], answer["finish_reason"], answer["completion_tokens"]) == ("Paris.", "stop", 2)


def test_a_piped_question_is_read_and_no_stream_prints_the_same(inside) -> None:
    streamed = inside.run("chat", "--backend", "fake", stdin="say this back\n")
    whole = inside.run("chat", "--backend", "fake", "--no-stream", stdin="say this back\n")
    assert streamed.stdout == whole.stdout == "You said: say this back\n"


def test_a_question_and_piped_text_are_joined(vortex) -> None:
    result = vortex.run("chat", "--backend", "fake", "Explain this", stdin="some text\n")
    assert result.stdout == "You said: Explain this\n\nsome text\n"


def test_piped_bytes_that_are_no_text_are_refused(vortex) -> None:
    command = vortex.command("chat", "--backend", "fake", "Explain this")
    result = subprocess.run(
        command, input=b"ab\xff", capture_output=True, cwd=vortex.folder, env=vortex.environment, check=False
    )
    assert result.returncode == 2
    assert b"not UTF-8 at byte 2" in result.stderr


def test_the_same_seed_gives_the_same_answer_through_the_engine(inside) -> None:
    def ask(seed: str) -> str:
        options = ("--backend", "hash", "--temperature", "1", "--seed", seed, "--max-new-tokens", "12", "--json")
        return json.loads(inside.run("chat", *options, "hi").stdout)["text"]

    assert ask("7") == ask("7") != ask("8")


def test_the_limit_is_said(inside) -> None:
    result = inside.run("chat", "--backend", "hash", "--max-new-tokens", "3", "hi")
    assert "3 tokens" in result.stderr
    assert "--max-new-tokens raises it" in result.stderr


def test_a_terminal_without_unicode_still_gets_an_answer(vortex) -> None:
    result = vortex.run("chat", "--backend", "fake", "¿qué? 日本", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert result.stdout.startswith("You said: ?qu??")


def endless(vortex) -> subprocess.Popen[bytes]:
    """An answer that takes minutes: seen to have begun."""
    process = vortex.start("chat", "--backend", "hash", "--max-new-tokens", "100000000", "hi")
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


def test_ctrl_c_stops_the_answer_with_exit_code_130(vortex) -> None:
    process = endless(vortex)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in error


def test_a_reader_that_goes_away_ends_it_silently(vortex) -> None:
    process = endless(vortex)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) != 0
    assert error == b""


def test_the_default_model_knows_the_capital_of_france(vortex) -> None:
    result = vortex.run("chat", "What is the capital of France?")
    assert result.returncode == 0, result.stderr
    assert "Paris" in result.stdout
