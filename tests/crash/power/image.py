"""Makes the folder that a disk has after a power loss, of what was synced.

A file has the content that it had when it was last synced, or none. A name is
there if the file, or the folder, was synced since it got it; one that was removed
is still there unless the folder was synced since.
"""

import shutil
from pathlib import Path

from msgspec import Struct


class _Disk(Struct):
    """Entries by folder: names, each with an inode and whether it is a folder."""

    entries: dict[int, dict[str, tuple[int, bool]]] = {}
    root: int = 0

    def _link(self, path: str, folders: list[int], inode: int, *, folder: bool) -> None:
        """Note the names that lead to what was synced."""
        self.root = folders[0]
        names = [] if path == "." else path.split("/")
        inodes = [*folders[1:], inode][: len(names)]
        for depth, (name, child) in enumerate(zip(names, inodes, strict=True)):
            last = depth == len(names) - 1
            place = self.entries.setdefault(folders[depth], {})
            place[name] = (child, folder or not last)

    def take(self, line: str) -> None:
        """Note one sync."""
        head, _, listing = line.partition("|")
        kind, number, path, *chain = head.split()
        folders, inode = [int(part) for part in chain], int(number)
        if kind == "F":
            self._link(path, folders, inode, folder=False)
            return
        self._link(path, folders, inode, folder=True)
        words = listing.split()
        self.entries[inode] = {
            name: (int(child), what == "D")
            for name, child, what in zip(
                words[::3], words[1::3], words[2::3], strict=True
            )
        }

    def write(self, inode: int, kept: Path, folder: Path) -> None:
        """Make a folder's entries."""
        folder.mkdir(exist_ok=True)
        for name, (child, is_folder) in self.entries.get(inode, {}).items():
            if is_folder:
                self.write(child, kept, folder / name)
            elif (kept / str(child)).exists():
                shutil.copyfile(kept / str(child), folder / name)
                (folder / name).chmod(0o600)
            else:
                (folder / name).touch(0o600)


def make_image(kept: Path, folder: Path) -> None:
    """Make `folder` of what the preloaded library has kept."""
    disk = _Disk()
    for line in (kept / "log").read_text().splitlines():
        disk.take(line)
    disk.write(disk.root, kept, folder)
