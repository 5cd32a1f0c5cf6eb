"""How a pool balances, in words."""

from __future__ import annotations

from synproxy.config.model import HashBalance, Pool


def key_template(pool: Pool) -> str:
    """The template of a pool's sticky key; empty if it balances without one."""
    return pool.balance.hash if isinstance(pool.balance, HashBalance) else ""


def balance_text(pool: Pool) -> str:
    """How a pool balances, in nginx's words."""
    if not isinstance(pool.balance, HashBalance):
        return pool.balance
    kind = "consistent" if pool.balance.method == "ketama" else pool.balance.method
    return f"hash {pool.balance.hash} {kind}"
