"""The status page in Chromium, over a running synproxy with stand-ins for Synapse's workers."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

from aiohttp import ClientSession

from tests.support.busy import Stage, stage, token
from tests.support.chromium import Tab, chromium

CANARY = "syt_Y2FuYXJ5_canary"

HOLD = "500ms"
"""A request to a worker that is gone waits for a restart; nothing here is about that."""

UNTIL = """new Promise((done, failed) => {
  const look = () => { if (%s) { clearInterval(timer); done(true); } };
  const timer = setInterval(look, 50);
  setTimeout(() => failed(new Error(document.body.innerText)), 25000);
  look();
})"""

FAINT = """(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  let looked = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
    if (!own || /^(script|style|title|noscript)$/i.test(element.nodeName)) continue;
    const style = getComputedStyle(element);
    const text = numbers(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(text), light(behind(element))].sort((x, y) => y - x);
    looked += 1;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${element.outerHTML.slice(0, 80)}: ${ratio.toFixed(2)}`);
  }
  return looked > 100 ? faint : [`only ${looked} texts`];
})()"""
"""Texts whose contrast is below 4.5 (WCAG 2.1, success criterion 1.4.3)."""


async def until(tab: Tab, condition: str) -> None:
    assert await tab.value(UNTIL % condition)


async def ask(running: Stage, path: str) -> int:
    headers = {"Authorization": f"Bearer {token('alice')}"}
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{running.port}{path}", headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


async def test_the_page_lives_and_loads_nothing_but_itself() -> None:
    async with stage(hold=HOLD) as running, chromium() as tab:
        await tab.look()
        await tab.go(running.page)
        await until(tab, "document.querySelector('.verdict strong').textContent.includes('is up')")
        await tab.value("document.getElementById('url').focus()")
        await tab.call("Input.insertText", text="/_matrix/cli")
        assert await ask(running, "/_matrix/client/v3/profile/@a:b") == 200
        row = "[...document.querySelectorAll('.routes tr')].find(r => r.cells[0].innerText=='main')"
        await until(tab, f"parseFloat({row}.cells[3].innerText) > 0")
        await running.stop_worker("login")
        assert await ask(running, f"/_matrix/client/v3/login?access_token={CANARY}") == 200
        await until(tab, "document.querySelector('.notes')?.innerText.includes('login')")
        # What is being typed is not disturbed by what is refreshed.
        assert await tab.value("document.activeElement.value") == "/_matrix/cli"
        assert await tab.value("document.title.startsWith('\u25b2')")
        assert CANARY not in await tab.value("document.documentElement.outerHTML")
        assert tab.complaints == []
        assert {url.partition("?")[0] for url in tab.requests} <= {running.page, "data:,"}


async def test_without_scripts_everything_is_there_and_requests_are_explained() -> None:
    async with stage(hold=HOLD) as running, chromium() as tab:
        await tab.without_scripts()
        await tab.go(running.page)
        text = await tab.value("document.body.innerText")
        assert "16 of 16 servers in 7 pools are up" in text
        assert "normal_sync3" in text
        assert await tab.value("document.querySelectorAll('.sankey path').length") > 20
        refresh = "document.querySelector('noscript meta').httpEquiv"
        assert await tab.value(refresh) == "refresh"
        url = quote(f"https://h/_matrix/client/v3/sync?since=1&access_token={CANARY}", safe="")
        await tab.go(f"{running.page}?method=GET&url={url}&from=")
        answer = await tab.value("document.querySelector('.explanation').innerText")
        assert "normal_sync" in answer
        assert "'canary'" in answer  # whose the token is
        assert CANARY not in await tab.value("document.documentElement.outerHTML")
        assert tab.complaints == []


async def test_it_can_be_read_by_everybody() -> None:
    async with stage(hold=HOLD) as running, chromium() as tab:
        await running.stop_worker("login")
        assert await ask(running, "/_matrix/client/v3/login") == 200
        for dark in (False, True):
            await tab.look(dark=dark)
            await tab.go(f"{running.page}?method=GET&url=/_matrix/client/v3/login&from=")
            assert await tab.value(FAINT) == []
        await tab.look(width=400)
        await tab.go(running.page)
        assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
        roles = await seen_by_readers(tab)
        for role in ("banner", "main", "contentinfo", "navigation", "search", "rowheader", "image"):
            assert role in roles, roles
        assert roles.count("columnheader") > 15
        reached = await reached_by_tab(tab)
        assert reached[0] == "#pools"
        assert {"method", "url", "from"} <= set(reached)


async def seen_by_readers(tab: Tab) -> list[str]:
    """The roles of the accessibility tree."""
    tree = await tab.call("Accessibility.getFullAXTree")
    return [node["role"]["value"] for node in tree["nodes"] if not node["ignored"]]


async def reached_by_tab(tab: Tab) -> list[str]:
    """What the tab key goes to, one after the other."""
    found = []
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            await tab.call(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
        active = await tab.value(
            "JSON.stringify([document.activeElement.id, document.activeElement.hash])"
        )
        found += [name for name in json.loads(active) if name]
        await asyncio.sleep(0)
    return found
