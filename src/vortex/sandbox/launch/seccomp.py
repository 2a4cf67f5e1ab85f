"""The system call filter: a list of refusals, and everything newer than the list refused as unknown.

Promises that no program inside can trace others, mount, load code into the kernel, reach keyrings, io_uring, bpf,
userfaultfd or new namespaces, and that sockets are of the families given. `alone` adds what only matters where there
is no mount, process and IPC namespace: Landlock does not see changes of mode, owner, time or attributes, so changes of
mode, owner and time are answered as done without being done, and attributes as not supported.

Source: the kernel's Documentation/userspace-api/seccomp_filter.rst; numbers from its system call tables.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from vortex.sandbox.launch import system

# name: (x86-64, 64-bit ARM or None where that machine has no such call)
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "unshare": (272, 97), "setns": (308, 268),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "personality": (135, 92), "memfd_secret": (447, 447),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "sethostname": (170, 161), "setdomainname": (171, 162),
    "file_setattr": (469, 469),
}  # fmt: skip
# Where memory is counted by process and not by a control group, memory that belongs to no process would not count.
UNCOUNTED: dict[str, tuple[int | None, int | None]] = {"memfd_create": (319, 279), "shmget": (29, 194)}
ALONE_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181), "inotify_add_watch": (254, 27),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "connect": (42, 203), "bind": (49, 200), "pidfd_open": (434, 434),
}  # fmt: skip
ALONE_SIGNALS: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
ALONE_PRETENDED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
ALONE_UNSUPPORTED: dict[str, tuple[int | None, int | None]] = {
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
}  # fmt: skip
ALONE_OWN_PROCESS = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}  # first argument must be 0

# A file that takes its owner's rights would outlive the run: call -> (x86-64, ARM, mode argument, flags argument)
MAKES_MODE: dict[str, tuple[int | None, int | None, int, int | None]] = {
    "chmod": (90, None, 1, None), "fchmod": (91, 52, 1, None), "fchmodat": (268, 53, 2, None),
    "fchmodat2": (452, 452, 2, None), "creat": (85, None, 1, None), "open": (2, None, 2, 1), "openat": (257, 56, 3, 2),
    "mkdir": (83, None, 1, None), "mkdirat": (258, 34, 2, None), "mknod": (133, None, 1, None),
    "mknodat": (259, 33, 2, None),
}  # fmt: skip
SET_ID_BITS, O_CREAT_OR_TMPFILE = 0o6000, 0o100 | 0o20000000

NEWEST_KNOWN = 469
CLONE3, OPENAT2 = 435, 437
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SOCKET, SOCKETPAIR = {"x86_64": 41, "aarch64": 198}, {"x86_64": 53, "aarch64": 199}
CLONE, IOCTL = {"x86_64": 56, "aarch64": 220}, {"x86_64": 16, "aarch64": 29}
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE = 0, 4
X32_BIT = 0x40000000


def argument(index: int) -> int:
    """Where the low word of a call's argument lies in the data a filter reads."""
    return 16 + 8 * index


class Filter:
    """A filter being written: one instruction after another, jumps counted in instructions to skip."""

    def __init__(self, machine: str) -> None:
        self.column = 0 if machine == "x86_64" else 1
        self.code: list[tuple[int, int, int, int]] = []

    def add(self, operation: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self.code.append((operation, if_true, if_false, value & 0xFFFFFFFF))

    def answer(self, table: dict[str, tuple[int | None, int | None]], verdict: int) -> None:
        """One verdict for every call of the table; the call number is in the accumulator before and after."""
        for numbers in table.values():
            number = numbers[self.column]
            if number is not None:
                self.add(JUMP_EQUAL, number, 0, 1)
                self.add(RETURN, verdict)

    def when(self, number: int, body: list[tuple[int, int, int, int]]) -> None:
        """`body` for one call; it must end in a verdict on every path."""
        self.add(JUMP_EQUAL, number, 0, len(body))
        self.code += body

    def install(self) -> None:
        packed = b"".join(struct.pack("HBBI", *instruction) for instruction in self.code)
        program = ctypes.create_string_buffer(packed)

        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

        handle = Program(len(self.code), ctypes.cast(program, ctypes.c_void_p))
        system.prctl("no_new_privs", system.PR_SET_NO_NEW_PRIVS, 1)
        system.prctl("seccomp", system.PR_SET_SECCOMP, 2, ctypes.byref(handle))


def _verdict_by_value(offset: int, mask: int, allowed: list[int], otherwise: int) -> list[tuple[int, int, int, int]]:
    """Allow when the masked argument is one of `allowed`."""
    body = [(LOAD, 0, 0, offset), (AND, 0, 0, mask)]
    for index, value in enumerate(allowed):
        body.append((JUMP_EQUAL, len(allowed) - index, 0, value))
    return [*body, (RETURN, 0, 0, otherwise), (RETURN, 0, 0, ALLOW)]


def _no_set_id_files(program: Filter) -> None:
    """No file is made or changed to run as its owner or group."""
    for *numbers, mode, flags in MAKES_MODE.values():
        number = numbers[program.column]
        if number is None:
            continue
        body = [(LOAD, 0, 0, argument(mode)), (JUMP_ANY_BIT, 0, 1, SET_ID_BITS)]
        body += [(RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW)]
        if flags is not None:
            body = [
                (LOAD, 0, 0, argument(flags)),
                (JUMP_ANY_BIT, 1, 0, O_CREAT_OR_TMPFILE),
                (RETURN, 0, 0, ALLOW),
                *body,
            ]
        program.when(number, body)


def _without_namespaces(program: Filter, signals: bool) -> None:
    """What namespaces and a root of its own would have kept apart."""
    program.answer(ALONE_REFUSED, ERRNO | errno.EPERM)
    program.answer(ALONE_PRETENDED, ERRNO | 0)
    program.answer(ALONE_UNSUPPORTED, ERRNO | errno.EOPNOTSUPP)
    for numbers in ALONE_OWN_PROCESS.values():
        body = _verdict_by_value(argument(0), 0xFFFFFFFF, [0], ERRNO | errno.EPERM)
        program.when(numbers[program.column], body)
    if not signals:
        program.answer(ALONE_SIGNALS, ERRNO | errno.EPERM)


def _no_namespaces_nor_typing(program: Filter, machine: str) -> None:
    """No new namespace by clone, and no typing into somebody's terminal."""
    namespaces = system.NAMESPACES | system.CLONE_NEWTIME
    # clone's low byte is the signal for the parent, so CLONE_NEWTIME (0x80) can only come through clone3 or unshare
    flags = namespaces & ~0xFF
    program.when(
        CLONE[machine],
        [
            (LOAD, 0, 0, argument(0)),
            (JUMP_ANY_BIT, 0, 1, flags),
            (RETURN, 0, 0, ERRNO | errno.EPERM),
            (RETURN, 0, 0, ALLOW),
        ],
    )
    program.when(
        IOCTL[machine],
        [
            (LOAD, 0, 0, argument(1)), (JUMP_EQUAL, 1, 0, TIOCSTI), (JUMP_EQUAL, 0, 1, TIOCLINUX),
            (RETURN, 0, 0, ERRNO | errno.EPERM), (RETURN, 0, 0, ALLOW),
        ],
    )  # fmt: skip


def restrict(families: list[int], *, alone: bool, signals: bool, counted: bool) -> None:
    """Filter this process from now on.

    `families`: socket families that may be made. `alone`: there are no namespaces. `signals`: the kernel keeps signals
    within (Landlock ABI 6, or a process namespace). `counted`: a control group counts memory.
    """
    machine = system.machine()
    program = Filter(machine)
    program.add(LOAD, ARCHITECTURE)
    program.add(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0)
    program.add(RETURN, KILL)
    program.add(LOAD, NUMBER)
    program.add(JUMP_AT_LEAST, NEWEST_KNOWN + 1, 0, 1)  # also the x32 calls, whose numbers carry bit 30
    program.add(RETURN, ERRNO | errno.ENOSYS)
    program.answer(REFUSED, ERRNO | errno.EPERM)
    if not counted:
        program.answer(UNCOUNTED, ERRNO | errno.ENOSYS)
    if alone:
        _without_namespaces(program, signals)
    for number in (CLONE3, OPENAT2):  # their flags lie in memory that a filter cannot read; libc has older ways
        program.add(JUMP_EQUAL, number, 0, 1)
        program.add(RETURN, ERRNO | errno.ENOSYS)
    _no_set_id_files(program)
    _no_namespaces_nor_typing(program, machine)
    program.when(SOCKET[machine], _verdict_by_value(argument(0), 0xFFFFFFFF, families, ERRNO | errno.EAFNOSUPPORT))
    # A datagram pair could still send to any Unix address by name; stream and packet pairs are bound to each other.
    kinds = _verdict_by_value(argument(1), 0xF, [SOCK_STREAM, SOCK_SEQPACKET], ERRNO | errno.EAFNOSUPPORT)
    refuse = [(LOAD, 0, 0, argument(0)), (JUMP_EQUAL, 1, 0, AF_UNIX), (RETURN, 0, 0, ERRNO | errno.EAFNOSUPPORT)]
    program.when(SOCKETPAIR[machine], refuse + kinds)
    program.add(RETURN, ALLOW)
    program.install()
