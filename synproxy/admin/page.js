"use strict";
(() => {
  const PAUSE = 2000, LATE = 8000;
  const pulse = document.getElementById("pulse");
  const spoken = document.getElementById("spoken");
  let last = Date.now(), timer = 0;

  // Make one tree equal to another and touch only what differs: focus, selection and scrolling stay.
  const become = (old, now) => {
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) {
      old.replaceWith(now.cloneNode(true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes])
      if (!now.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of now.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const have = [...old.childNodes], want = [...now.childNodes];
    want.forEach((child, i) => have[i] ? become(have[i], child) : old.append(child.cloneNode(true)));
    have.slice(want.length).forEach((child) => child.remove());
  };

  const say = (text, stale) => {
    pulse.textContent = text;
    pulse.className = stale ? "stale" : "";
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch(location.pathname, {
        headers: { Accept: "text/html" },
        signal: AbortSignal.timeout(LATE),
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const now = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of now.querySelectorAll("[data-live]")) {
        const old = document.getElementById(part.id);
        if (old) become(old, part);
      }
      const verdict = now.getElementById("spoken").textContent;
      if (spoken.textContent !== verdict) spoken.textContent = verdict;
      document.title = now.title;
      last = Date.now();
      say("live", false);
    } catch {
      say(`no answer for ${Math.round((Date.now() - last) / 1000)} s`, true);
    }
    timer = setTimeout(refresh, PAUSE);
  };

  document.addEventListener("visibilitychange", refresh);
  say("live", false);
  timer = setTimeout(refresh, PAUSE);
})();
