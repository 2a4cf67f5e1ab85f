"""Attempts on other processes and on the kernel."""

from __future__ import annotations

from vortex.bench.sandbox.attempt import Attempt

ATTEMPTS = (
    Attempt(
        "trace a process", "processes",
        """
        for process in (world['victim'], os.getppid()):
            try:
                call('ptrace', 16, process, 0, 0)
            except OSError:
                continue
            escaped(process)
        """,
        control=True,
    ),
    Attempt(
        "read another's memory", "processes",
        """
        buffer = ctypes.create_string_buffer(8)
        local = struct.pack('QQ', ctypes.addressof(buffer), 8)
        libc.ptrace  # noqa
        for process in (world['victim'], os.getppid()):
            remote = struct.pack('QQ', 0x1000, 8)
            try:
                call('process_vm_readv', process, ctypes.c_char_p(local), 1, ctypes.c_char_p(remote), 1, 0)
            except OSError as error:
                if error.errno == errno.EFAULT:
                    escaped('allowed, only the address was wrong')
        """,
        control=True,
    ),
    Attempt(
        "kill a process", "processes",
        "each([lambda: os.kill(world['victim'], 9), lambda: os.kill(os.getppid(), 0) or None])", control=True,
    ),
    Attempt("kill all it can reach", "processes", "os.kill(-1, 9)"),
    Attempt(
        "process descriptors", "processes",
        """
        handle = os.pidfd_open(world['victim'])
        signal.pidfd_send_signal(handle, 9)
        """,
        control=True,
    ),
    Attempt(
        "another's open files", "processes",
        """
        handle = os.pidfd_open(world['victim'])
        call('pidfd_getfd', handle, 0, 0)
        escaped('standard input of another')
        """,
        control=True,
    ),
    Attempt(
        "enter another's namespaces", "processes",
        """
        for process in (world['victim'], os.getppid(), 1):
            for kind in ('user', 'mnt', 'net', 'pid'):
                try:
                    checked(libc.setns(os.open(f'/proc/{process}/ns/{kind}', os.O_RDONLY), 0))
                except OSError:
                    continue
                escaped(kind)
        """,
    ),
    Attempt(
        "a new user namespace", "processes",
        """
        def by_unshare():
            checked(libc.unshare(0x10000000)); escaped('unshare')
        def by_clone():
            child = call('clone', 0x10000000 | 17, 0, 0, 0, 0)
            if child == 0:
                os._exit(0)
            escaped('clone')
        each([by_unshare, by_clone])
        """,
        control=True,
    ),
    Attempt(
        "io_uring", "processes",
        "call('io_uring_setup', 4, ctypes.create_string_buffer(120))\nescaped()", control=True,
    ),
    Attempt(
        "kernel keyrings", "processes",
        "call('add_key', ctypes.c_char_p(b'user'), ctypes.c_char_p(b'mine'), ctypes.c_char_p(b'x'), 1, -3)\nescaped()",
        control=True,
    ),
    Attempt("bpf", "processes", "call('bpf', 0, ctypes.create_string_buffer(72), 72)\nescaped()"),
    Attempt("userfaultfd", "processes", "call('userfaultfd', 1)\nescaped()", control=True),
    Attempt(
        "performance counters", "processes",
        "call('perf_event_open', ctypes.create_string_buffer(struct.pack('IIQ', 1, 128, 0) + bytes(112)), 0, -1, -1, 0)"
        "\nescaped()",
    ),
    Attempt(
        "limits and priority of another", "processes",
        """
        import resource
        each([lambda: resource.prlimit(world['victim'], resource.RLIMIT_NOFILE, (7, 7)),
              lambda: os.setpriority(os.PRIO_PROCESS, world['victim'], 19),
              lambda: os.sched_setaffinity(world['victim'], {0})])
        """,
        control=True,
    ),
    Attempt(
        "shared memory of another", "processes",
        """
        libc.shmat.restype = ctypes.c_void_p
        handle = checked(libc.shmget(world['shared'], 0, 0))
        escaped('attached to %d' % handle)
        """,
        control=True,
    ),
    Attempt(
        "load a kernel module", "processes",
        "call('init_module', ctypes.c_char_p(b'x'), 1, ctypes.c_char_p(b''))\nescaped()",
    ),
    Attempt(
        "the clock, the name, the power", "processes",
        """
        each([lambda: (checked(libc.sethostname(b'mine', 4)), escaped('name')),
              lambda: (checked(libc.reboot(0)), escaped('power')),
              lambda: (time.clock_settime(time.CLOCK_REALTIME, time.time()), escaped('clock'))])
        """,
    ),
    Attempt(
        "typing into the terminal", "processes",
        """
        import fcntl, termios
        for number in (0, 1, 2):
            try:
                fcntl.ioctl(number, termios.TIOCSTI, b'x')
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES):
                    escaped('not refused: %s' % error)
                continue
            escaped('typed')
        """,
    ),
    Attempt(
        "old 32-bit system calls", "processes",
        """
        code = bytes.fromhex('b814000000cd80c3')  # mov eax, 20 (getpid); int 0x80; ret
        import mmap
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(code)
        function = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        if os.uname().machine == 'x86_64' and function() > 0:
            escaped('int 0x80 answered')
        """,
    ),
)  # fmt: skip
