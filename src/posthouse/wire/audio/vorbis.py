"""Vorbis packets: how long they are, by the blocks that the setup header has.

Source: the Vorbis I specification, sections 1.3.2, 3.2, 4.2.4, 4.3.1, 6.2.1, 7.2.2 and
8.6.1. Two blocks that follow each other sound for a quarter of both. Which size a
packet's block has stands in its mode; the modes are the last thing in the setup header,
so all before them is read to be passed over. Who hides them has blocks of the
shortest size at least.
"""

_SETUP = b"\x05vorbis"
_CODEBOOK = 0x564342
_LARGEST_SETUP = 16 * 1024
"""Bytes; encoders write half of that, for many channels."""
_WIDEST = 24
"""Bits of a codebook's number of entries: a power beyond that exceeds them all."""
_HEADERS = 3

Modes = tuple[bool, ...]
"""By mode, whether its blocks are long."""


class _Unreadable(Exception):
    """It is no setup header, or not all of it."""


class _Bits:
    """Reads bits, the lowest of each byte first."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._size = len(data) * 8

    def read(self, width: int) -> int:
        """Read a number of at most 32 bits; raises _Unreadable at the end."""
        at = self._at
        self._at = at + width
        if self._at > self._size:
            raise _Unreadable
        whole = int.from_bytes(self._data[at >> 3 : (at >> 3) + 5], "little")
        return whole >> (at & 7) & ((1 << width) - 1)

    def skip(self, width: int) -> None:
        """Pass over bits."""
        self._at += width


class VorbisBlocks:
    """Adds up the packets of one stream, page by page."""

    def __init__(self, head: bytes, *, reads: bool) -> None:
        """Begin with the identification header, of 30 bytes at least.

        Unless it `reads` the setup header, blocks are taken for the shortest.
        """
        self._reads = reads
        self.modes: Modes | None = None
        self.samples = 0
        """Of one channel, that the packets hold."""
        self._channels = head[11]
        self._short, self._long = 1 << (head[28] & 15), 1 << (head[28] >> 4)
        self._previous = 0
        self._packets = 0
        self._setup = bytearray()
        self._open = False
        """The last page ended within a packet."""

    def page(self, lacing: bytes, body: bytes, *, goes_on: bool) -> None:
        """Take the packets of a page."""
        at = begin = 0
        begins = not (goes_on and self._open)
        for size in lacing:
            at += size
            if size < 255:
                self._part(body, begin, at, begins=begins)
                if self._packets == _HEADERS and self._setup:
                    self.modes = read_modes(bytes(self._setup), self._channels)
                    self._setup.clear()
                begin, begins = at, True
        self._open = lacing[-1:] == b"\xff"
        if self._open:
            self._part(body, begin, at, begins=begins)

    def _part(self, body: bytes, begin: int, end: int, *, begins: bool) -> None:
        """Take a packet, or what of it is in this page."""
        if begins:
            self._packets += 1
            if self._packets > _HEADERS and begin < end:
                self._sound(body[begin])
        if (
            self._reads
            and self._packets == _HEADERS
            and len(self._setup) <= _LARGEST_SETUP
        ):
            self._setup += body[begin:end]

    def _sound(self, first: int) -> None:
        """Take a packet by its first byte."""
        if first & 1:
            return
        size, modes = self._short, self.modes
        if modes is not None:
            mode = first >> 1 & ((1 << (len(modes) - 1).bit_length()) - 1)
            if mode >= len(modes):
                return
            size = self._long if modes[mode] else self._short
        if self._previous:
            self.samples += (self._previous + size) // 4
        self._previous = size


def read_modes(data: bytes, channels: int) -> Modes | None:
    """Read a setup header's modes; None where it cannot be read."""
    if not data.startswith(_SETUP) or len(data) > _LARGEST_SETUP or not channels:
        return None
    bits = _Bits(data, len(_SETUP) * 8)
    try:
        for _ in range(bits.read(8) + 1):
            _skip_codebook(bits)
        bits.skip(16 * (bits.read(6) + 1))
        for _ in range(bits.read(6) + 1):
            _skip_floor(bits)
        for _ in range(bits.read(6) + 1):
            _skip_residue(bits)
        for _ in range(bits.read(6) + 1):
            _skip_mapping(bits, channels)
        modes = []
        for _ in range(bits.read(6) + 1):
            modes.append(bool(bits.read(1)))
            bits.skip(40)
        framed = bits.read(1)
    except _Unreadable:
        return None
    return tuple(modes) if framed else None


def _skip_codebook(bits: _Bits) -> None:
    if bits.read(24) != _CODEBOOK:
        raise _Unreadable
    dimensions, entries = bits.read(16), bits.read(24)
    if bits.read(1):
        bits.skip(5)
        listed = 0
        while listed < entries:
            listed += bits.read((entries - listed).bit_length())
    elif bits.read(1):
        for _ in range(entries):
            if bits.read(1):
                bits.skip(5)
    else:
        bits.skip(5 * entries)
    _skip_values(bits, dimensions, entries)


def _skip_values(bits: _Bits, dimensions: int, entries: int) -> None:
    lookup = bits.read(4)
    if lookup > 2:
        raise _Unreadable
    if lookup:
        bits.skip(64)
        width = bits.read(4) + 1
        whole = entries * dimensions
        bits.skip(1 + width * (_root(entries, dimensions) if lookup == 1 else whole))


def _root(entries: int, dimensions: int) -> int:
    """The greatest number whose power of so many dimensions is within the entries."""
    if not dimensions or not entries:
        raise _Unreadable
    if dimensions > _WIDEST:
        return 1
    root = int(entries ** (1 / dimensions))
    while (root + 1) ** dimensions <= entries:
        root += 1
    while root**dimensions > entries:
        root -= 1
    return root


def _skip_floor(bits: _Bits) -> None:
    kind = bits.read(16)
    if kind == 0:
        bits.skip(8 + 16 + 16 + 6 + 8)
        bits.skip(8 * (bits.read(4) + 1))
        return
    if kind != 1:
        raise _Unreadable
    classes = [bits.read(4) for _ in range(bits.read(5))]
    dimensions = []
    for _ in range(max(classes, default=-1) + 1):
        dimensions.append(bits.read(3) + 1)
        subclasses = bits.read(2)
        bits.skip((8 if subclasses else 0) + (8 << subclasses))
    bits.skip(2)
    bits.skip(bits.read(4) * sum(dimensions[one] for one in classes))


def _skip_residue(bits: _Bits) -> None:
    if bits.read(16) > 2:
        raise _Unreadable
    bits.skip(3 * 24)
    classifications = bits.read(6) + 1
    bits.skip(8)
    books = 0
    for _ in range(classifications):
        books += bits.read(3).bit_count()
        if bits.read(1):
            books += bits.read(5).bit_count()
    bits.skip(8 * books)


def _skip_mapping(bits: _Bits, channels: int) -> None:
    if bits.read(16):
        raise _Unreadable
    submaps = bits.read(4) + 1 if bits.read(1) else 1
    if bits.read(1):
        steps = bits.read(8) + 1
        bits.skip(2 * steps * (channels - 1).bit_length())
    bits.skip(2)
    if submaps > 1:
        bits.skip(4 * channels)
    bits.skip(24 * submaps)
