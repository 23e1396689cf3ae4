"""Reads Qt resource files (`.rcc`), so that paintings can be taken out of a Debian package without Qt.

The format is that of Qt's `rcc --binary`, versions 1 to 3: a header, a tree of nodes, names in UTF-16, and data blocks
that may be compressed with zlib. Zstandard blocks (version 3) are refused by name.
"""

import struct
import zlib

DIRECTORY = 0x02
COMPRESSED_ZLIB = 0x01
COMPRESSED_ZSTD = 0x04


def files(resource):
    """Yields `(path, bytes)` for every file in the resource, given its bytes."""
    if resource[:4] != b"qres":
        raise ValueError(f"not a Qt resource: starts with {resource[:4]!r} (expected b'qres')")
    version, tree, data, names = struct.unpack_from(">4I", resource, 4)
    if not 1 <= version <= 3:
        raise ValueError(f"Qt resource of version {version} (expected 1 to 3)")
    node_size = 14 if version == 1 else 22

    def name_at(offset):
        (length,) = struct.unpack_from(">H", resource, names + offset)
        start = names + offset + 6
        return resource[start : start + 2 * length].decode("utf-16-be")

    def content_at(offset, flags, path):
        (size,) = struct.unpack_from(">I", resource, data + offset)
        content = resource[data + offset + 4 : data + offset + 4 + size]
        if flags & COMPRESSED_ZSTD:
            raise ValueError(f"'{path}' is compressed with Zstandard, which is not supported")
        return zlib.decompress(content[4:]) if flags & COMPRESSED_ZLIB else content

    def walk(index, parent):
        node = tree + index * node_size
        name, flags = struct.unpack_from(">IH", resource, node)
        path = parent if index == 0 else f"{parent}/{name_at(name)}".lstrip("/")
        if flags & DIRECTORY:
            count, first = struct.unpack_from(">2I", resource, node + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        else:
            (offset,) = struct.unpack_from(">I", resource, node + 10)
            yield path, content_at(offset, flags, path)

    yield from walk(0, "")
