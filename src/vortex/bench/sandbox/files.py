"""Attempts on files: out of the folder by links, /proc, mounts, races, descriptors, handles and nodes."""

from __future__ import annotations

from vortex.bench.sandbox.attempt import Attempt

ATTEMPTS = (
    Attempt("read a file outside", "files", "steal(world['secret'])", control=True),
    Attempt("write a file outside", "files", "open(world['target'], 'w').write('changed')", control=True),
    Attempt(
        "symbolic link", "files", "os.symlink(world['secret'], 'link')\nsteal('link')", control=True,
    ),
    Attempt(
        "symbolic link in the middle", "files",
        "os.symlink(os.path.dirname(world['secret']), 'folder')\nsteal('folder/' + os.path.basename(world['secret']))",
        control=True,
    ),
    Attempt(
        "hard link", "files", "os.link(world['secret'], 'hard')\nsteal('hard')", control=True,
    ),
    Attempt("root of itself in /proc", "files", "steal('/proc/self/root' + world['secret'])", control=True),
    Attempt(
        "roots and folders of others in /proc", "files",
        """
        for name in os.listdir('/proc'):
            if name.isdigit():
                each([lambda: steal(f'/proc/{name}/root' + world['secret']),
                      lambda: steal(f'/proc/{name}/cwd/../' + os.path.basename(world['secret']))])
        """,
        control=True,
    ),
    Attempt(
        "memory of others in /proc", "files",
        """
        for name in [str(world['victim']), str(os.getppid()), '1', *os.listdir('/proc')]:
            if name.isdigit() and int(name) != os.getpid():
                try:
                    os.open(f'/proc/{name}/mem', os.O_RDWR)
                except OSError:
                    continue
                escaped('memory of ' + name)
        """,
        control=True,
    ),
    Attempt(
        "bind mount", "files",
        """
        os.mkdir('over')
        checked(libc.mount(os.path.dirname(world['secret']).encode(), b'over', None, 4096, None))
        steal('over/' + os.path.basename(world['secret']))
        """,
    ),
    Attempt(
        "remount for writing", "files",
        "checked(libc.mount(None, b'/usr', None, 4096 | 32, None))\nescaped('/usr writable')",
    ),
    Attempt(
        "the new mount calls", "files",
        "tree = call('open_tree', -100, ctypes.c_char_p(b'/'), 1)\nescaped('a detached tree')",
    ),
    Attempt(
        "a name that changes under way", "files",
        """
        os.mkdir('swap')
        open('swap/' + os.path.basename(world['secret']), 'w').write('nothing')
        os.symlink(os.path.dirname(world['secret']), 'other')
        def exchange():
            while True:
                os.rename('swap', 'kept'); os.rename('other', 'swap')
                os.rename('swap', 'other'); os.rename('kept', 'swap')
        threading.Thread(target=exchange, daemon=True).start()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            try:
                steal('swap/' + os.path.basename(world['secret']))
            except OSError:
                continue
        os._exit(0)
        """,
        control=True,
    ),
    Attempt(
        "descriptors left open by the caller", "files",
        """
        for number in range(3, 4096):
            try:
                os.lseek(number, 0, 0)
                content = os.read(number, 100)
            except OSError:
                continue
            if world['token'].encode() in content:
                escaped('descriptor %d' % number)
        """,
        control=True,
    ),
    Attempt(
        "a path descriptor opened again", "files",
        """
        handle = os.open(world['secret'], os.O_PATH)
        steal('/proc/self/fd/%d' % handle)
        """,
        control=True,
    ),
    Attempt(
        "a folder descriptor and ..", "files",
        """
        handle = os.open('.', os.O_PATH)
        for depth in range(1, 12):
            try:
                found = os.open('../' * depth + world['secret'].lstrip('/'), os.O_RDONLY, dir_fd=handle)
            except OSError:
                continue
            if world['token'].encode() in os.read(found, 100):
                escaped('depth %d' % depth)
        """,
        control=True,
    ),
    Attempt(
        "file handles", "files",
        """
        handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
        where = ctypes.c_int()
        call('name_to_handle_at', -100, ctypes.c_char_p(world['secret'].encode()), handle, ctypes.byref(where), 0)
        escaped('a handle of the secret')
        """,
        control=True,
    ),
    Attempt(
        "change root and climb", "files",
        """
        os.mkdir('jail')
        os.chroot('jail')
        for _ in range(30):
            os.chdir('..')
        os.chroot('.')
        steal(world['secret'])
        """,
    ),
    Attempt("change the mode of a file outside", "files", "os.chmod(world['target'], 0o777)", control=True),
    Attempt("change the dates of a file outside", "files", "os.utime(world['target'], (1, 1))", control=True),
    Attempt("attributes of a file outside", "files", "os.setxattr(world['target'], 'user.mine', b'1')", control=True),
    Attempt("cut a file outside", "files", "os.truncate(world['target'], 0)", control=True),
    Attempt("rename a file outside", "files", "os.rename(world['target'], world['target'] + '.gone')", control=True),
    Attempt(
        "a block device of its own", "files",
        """
        import stat
        os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(254, 0))
        escaped('made a block device')
        """,
    ),
    Attempt(
        "a program that runs as its owner", "files",
        """
        import shutil
        shutil.copyfile('/bin/sh', 'shell')
        each([lambda: os.chmod('shell', 0o4755),
              lambda: os.open('shell2', os.O_CREAT | os.O_WRONLY, 0o6755),
              lambda: os.fchmod(os.open('shell', os.O_RDWR), 0o4755)])
        os.umask(0)
        if any(os.path.exists(name) and os.stat(name).st_mode & 0o6000 for name in ('shell', 'shell2')):
            escaped('set-id file')
        """,
        control=True,
    ),
    Attempt(
        "kernel settings in /proc/sys", "files",
        """
        for name in ('kernel/core_pattern', 'kernel/modprobe', 'vm/overcommit_memory', 'kernel/hostname'):
            try:
                open('/proc/sys/' + name, 'r+')
            except OSError:
                continue
            escaped(name)
        open('/proc/sysrq-trigger', 'w')
        escaped('sysrq')
        """,
    ),
)  # fmt: skip
