"""What holds in a block of nginx: its own directives, else those of the blocks around it.

Must not know what the directives mean.
Source: https://nginx.org/en/docs/http/ngx_http_core_module.html, the contexts of each directive.
"""

from __future__ import annotations

from dataclasses import dataclass

from synproxy.nginx.tree import Directive


@dataclass(frozen=True, slots=True)
class Scope:
    """Blocks in each other, the outermost first."""

    blocks: tuple[Directive, ...]

    def inside(self, block: Directive) -> Scope:
        """The scope of a block that stands in this one."""
        return Scope((*self.blocks, block))

    @property
    def innermost(self) -> Directive:
        return self.blocks[-1]

    def own(self, name: str) -> Directive | None:
        """The last directive with this name in the innermost block."""
        return self.innermost.last(name)

    def last(self, name: str) -> Directive | None:
        """The directive with this name that holds here: that of the innermost block that has it."""
        for block in reversed(self.blocks):
            if (found := block.last(name)) is not None:
                return found
        return None

    def inherited(self, *names: str) -> tuple[Directive, ...]:
        """For directives that add up: all of the innermost block that has one of them."""
        for block in reversed(self.blocks):
            if found := tuple(block.all(*names)):
                return found
        return ()

    def variables(self) -> dict[str, Directive]:
        """The ``set`` directives that hold here, by the name of their variable."""
        found: dict[str, Directive] = {}
        for block in self.blocks:
            for directive in block.all("set"):
                if len(directive.args) == 2:
                    found[directive.args[0].removeprefix("$").lower()] = directive
        return found
