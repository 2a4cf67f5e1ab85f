"""What all tests share: property tests are judged by what they find, never by how busy the machine is; and Ctrl-C works
in what they start, also where the suite itself was started in the background (a shell lets such programs ignore it)."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
