"""nginx's reading of a path, byte by byte, as the oracle for the fast one."""

from __future__ import annotations


def reference_path(raw: bytes) -> bytes | None:
    """$uri with merge_slashes on; None where nginx answers 400."""
    characters: list[int] = []
    at = 0
    while at < len(raw):
        if raw[at] == ord("%"):
            digits = raw[at + 1 : at + 3]
            if len(digits) < 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
                return None
            characters.append(int(digits, 16))
            if characters[-1] == 0:
                return None
            at += 3
        else:
            characters.append(raw[at])
            at += 1
    out = bytearray()
    for character in [*characters, None]:
        if character is None or character == ord("/"):
            if out.endswith(b"/.."):
                parent = out[:-3].rfind(b"/")
                if parent < 0:
                    return None
                del out[parent + 1 :]
            elif out.endswith(b"/."):
                del out[-1]
            elif character is not None and not out.endswith(b"/"):
                out.append(character)
        else:
            out.append(character)
    return bytes(out)
