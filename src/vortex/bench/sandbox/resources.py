"""Attempts to take more than was given, and to stay when time is up."""

from __future__ import annotations

from types import MappingProxyType

from vortex.bench.sandbox.attempt import Attempt

MIB = 1 << 20
SMALL = MappingProxyType({"memory_bytes": 192 * MIB, "disk_bytes": 64 * MIB, "file_bytes": 16 * MIB, "files": 2000})
SHORT = MappingProxyType({"time_s": 2.0})

ATTEMPTS = (
    Attempt(
        "a memory bomb", "resources",
        "held = [b'x' * (64 << 20) for _ in range(32)]\nescaped('2 GB')", policy=SMALL, ends=("memory",),
    ),
    Attempt(
        "memory through many children", "resources",
        """
        reading, writing = os.pipe()
        for _ in range(16):
            if os.fork() == 0:
                block = b'x' * (64 << 20)
                os.write(writing, os.getpid().to_bytes(4, 'little'))
                time.sleep(20)
        time.sleep(3)
        ended = set()
        while (child := os.waitpid(-1, os.WNOHANG)[0]):
            ended.add(child)
        os.set_blocking(reading, False)
        told = os.read(reading, 64)
        alive = {int.from_bytes(told[at:at + 4], 'little') for at in range(0, len(told), 4)} - ended
        if len(alive) > 3:
            escaped('%d processes of 64 MB' % len(alive))
        """,
        policy=SMALL, ends=("memory",), long=True,
    ),
    Attempt(
        "shared memory that is nobody's", "resources",
        """
        import mmap
        held = []
        for _ in range(16):
            held.append(mmap.mmap(-1, 64 << 20))
            for _ in range(64):
                held[-1].write(b'x' * (1 << 20))
        escaped('1 GB shared')
        """,
        policy=SMALL, ends=("memory",),
    ),
    Attempt(
        "files in memory", "resources",
        """
        kept = []
        for _ in range(100):
            handle = os.memfd_create('x')
            kept.append(handle)
            os.write(handle, b'x' * (8 << 20))
        escaped('800 MB')
        """,
        policy=SMALL, ends=("memory", "disk"),
    ),
    Attempt(
        "a fork bomb", "resources",
        """
        def bomb():
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
        bomb()
        """,
        policy=MappingProxyType({"processes": 40, "time_s": 2.0}), ends=("processes", "time"), long=True,
    ),
    Attempt(
        "threads without end", "resources",
        """
        threading.stack_size(65536)
        for _ in range(2000):
            threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
        escaped('2000 threads')
        """,
        policy=MappingProxyType({"processes": 40, "time_s": 3.0}), ends=("processes", "time"),
    ),
    Attempt(
        "a full disk", "resources",
        """
        for number in range(200):
            with open('big-%d' % number, 'wb') as file:
                file.write(b'x' * (8 << 20))
            time.sleep(0.01)
        escaped('1.6 GB')
        """,
        policy=SMALL, ends=("disk",), long=True,
    ),
    Attempt(
        "deleted files kept open", "resources",
        """
        kept = []
        for number in range(200):
            file = open('big', 'wb'); os.unlink('big')
            file.write(b'x' * (8 << 20)); file.flush()
            kept.append(file)
            time.sleep(0.01)
        escaped('1.6 GB')
        """,
        policy=SMALL, ends=("disk",), long=True,
    ),
    Attempt(
        "deleted files kept mapped", "resources",
        """
        import mmap
        kept = []
        for number in range(200):
            with open('big', 'wb+') as file:
                os.unlink('big')
                file.write(b'x' * (8 << 20)); file.flush()
                kept.append(mmap.mmap(file.fileno(), 4096))
            time.sleep(0.01)
        escaped('1.6 GB')
        """,
        policy=SMALL, ends=("disk",), long=True,
    ),
    Attempt(
        "files in folders too deep to name", "resources",
        """
        for _ in range(40):
            os.mkdir('d' * 200); os.chdir('d' * 200)
        for number in range(200):
            with open('big-%d' % number, 'wb') as file:
                file.write(b'x' * (8 << 20))
            time.sleep(0.01)
        escaped('1.6 GB')
        """,
        policy=SMALL, ends=("disk", "files"), long=True,
    ),
    Attempt(
        "files in folders that cannot be read", "resources",
        """
        os.mkdir('closed'); os.chdir('closed')
        os.mkdir('inner')
        inner = os.open('inner', os.O_PATH)
        os.chmod('../closed', 0o300)
        for number in range(200):
            handle = os.open('big-%d' % number, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=inner)
            os.write(handle, b'x' * (8 << 20)); os.close(handle)
            time.sleep(0.01)
        escaped('1.6 GB')
        """,
        policy=SMALL, ends=("disk", "files"), long=True,
    ),
    Attempt(
        "a disk of many small files", "resources",
        """
        for number in range(100_000):
            open('small-%d' % number, 'w').close()
            if number % 100 == 0:
                time.sleep(0.005)
        escaped('100,000 files')
        """,
        policy=MappingProxyType({"files": 2000, "time_s": 20.0}), ends=("files",), long=True,
    ),
    Attempt(
        "one large file", "resources",
        """
        with open('big', 'wb') as file:
            for _ in range(64):
                file.write(b'x' * (1 << 20))
        escaped('64 MB')
        """,
        policy=SMALL,
    ),
    Attempt(
        "output without end", "resources",
        "while True:\n    os.write(1, b'x' * 65536)",
        policy=MappingProxyType({"output_bytes": 20_000, "time_s": 20.0}), ends=("output",),
    ),
    Attempt(
        "time without end", "resources",
        "for number in (1, 2, 15):\n    signal.signal(number, signal.SIG_IGN)\nwhile True:\n    pass",
        policy=MappingProxyType({"time_s": 0.5}), ends=("time",),
    ),
    Attempt(
        "a child that outlives its time", "leftovers",
        """
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in (1, 2, 15):
                        signal.signal(number, signal.SIG_IGN)
                    while True:
                        time.sleep(0.05)
                        open('alive', 'a').write('x')
                os._exit(0)
        """,
    ),
    Attempt(
        "a child that was stopped", "leftovers",
        """
        child = os.fork()
        if child == 0:
            os.setsid()
            time.sleep(600)
        os.kill(child, signal.SIGSTOP)
        """,
    ),
    Attempt(
        "files left in /tmp", "leftovers",
        "open('/tmp/' + world['token'], 'w').write('x')", control=True,
    ),
)  # fmt: skip
