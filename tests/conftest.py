"""What all tests share: property tests are judged by what they find, never by how busy the machine is; and Ctrl-C works
in what they start, also where the suite itself was started in the background (a shell lets such programs ignore it)."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Plain `pytest`, all quick tests, runs in two processes (decision 0053); anything narrower runs in one."""
    option = config.option
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and "not long" in option.markexpr
    is_free = config.pluginmanager.hasplugin("xdist") and option.numprocesses is None and not option.usepdb
    if is_whole and is_free and not option.collectonly and "PYTEST_XDIST_WORKER" not in os.environ:
        option.numprocesses, option.dist = 2, "loadfile"
