"""One exchange: a client connection tied to an attempt on a server."""
