"""Pure HTTP/1.1 codecs: bytes in, facts out, and back; no I/O, no clock."""
