"""The checks of `.ci/run`, one by one, in the environment you are in: `nox -s lint`, `nox -s tests`, `nox`."""

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and mistakes."""
    session.run("ruff", "check", ".", external=True)
    session.run("ruff", "format", "--check", ".", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Static types, strictly."""
    session.run("mypy", external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The quick tests; arguments go to pytest."""
    session.run("pytest", *session.posargs, external=True)


@nox.session
def long(session: nox.Session) -> None:
    """Everything that needs neither a GPU nor a peer program."""
    session.run("pytest", "-m", "not gpu and not peer", *session.posargs, external=True)
