// What the pages do beyond HTML: they follow what happens, count the time down, and never take a word or the focus away.
"use strict";

(() => {
  const main = document.querySelector("main[data-live]");
  const news = document.getElementById("news");
  const TICK_MS = 1000;
  // News that comes in a heap is fetched once.
  const PAUSE_MS = 300;
  const RETRY_MS = 15000;
  // Browsers come back by themselves within three seconds; a gate that starts anew takes about as long.
  const LOST_MS = 5000;
  const SOON_S = 60;

  let began = performance.now();
  const said = new Set();

  // What changes what a person can do stands in sight, all else at the foot of the page.
  function say(text, isUrgent = false) {
    if (news === null) return;
    news.textContent = text;
    news.toggleAttribute("data-urgent", isUrgent);
  }

  // As `lasting` in views.py has it.
  function words(seconds) {
    const found = [];
    let rest = Math.max(0, Math.floor(seconds));
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
      const count = Math.floor(rest / size);
      rest %= size;
      if (count > 0) found.push(`${count} ${unit}`);
      else if (found.length > 0) break;
    }
    return found.slice(0, 2).join(" ") || "0 s";
  }

  function tick() {
    const passed = (performance.now() - began) / 1000;
    for (const each of document.querySelectorAll("[data-left]")) {
      const left = Number(each.dataset.left) - passed;
      const shown = words(left);
      if (each.textContent !== shown) each.textContent = shown;
      each.toggleAttribute("data-soon", left < SOON_S);
    }
    const first = document.querySelector(".request-left [data-left]");
    if (first !== null && !said.has("soon")) {
      const left = Number(first.dataset.left) - passed;
      if (left > 0 && left < SOON_S) {
        said.add("soon");
        say("Less than a minute is left to decide.");
      }
    }
  }

  function isTyped(part) {
    return [...part.querySelectorAll("textarea, input")].some((each) =>
      each.type === "radio" ? each.checked !== each.defaultChecked
        : each.type !== "hidden" && each.value !== each.defaultValue);
  }

  // The form stays as it is while somebody is at it, as long as it is about the same thing.
  function stays(old, fresh) {
    const isBusy = old.contains(document.activeElement) || isTyped(old);
    const binding = (part) => part.querySelector("input[name=binding]")?.value;
    return isBusy && binding(old) !== undefined && binding(old) === binding(fresh);
  }

  // It is no longer asked: what was typed stays to be read and copied, and cannot be sent.
  function close(part) {
    const buttons = [...part.querySelectorAll("button:enabled")];
    if (buttons.length === 0) return;
    for (const button of buttons) button.disabled = true;
    say("This request has been decided or has ended. Your answer was not sent.", true);
  }

  function replace(old, fresh) {
    const open = new Set([...old.querySelectorAll("details[open][id]")].map((each) => each.id));
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const next = document.importNode(fresh, true);
    old.replaceWith(next);
    for (const each of next.querySelectorAll("details[id]")) each.open = open.has(each.id);
    if (focused) (document.getElementById(focused) ?? main).focus({ preventScroll: true });
  }

  function swap(page) {
    for (const old of main.querySelectorAll("[data-part]")) {
      const fresh = page.getElementById(old.id);
      if (fresh === null || stays(old, fresh)) continue;
      if (old.querySelector("form") !== null && fresh.querySelector("form") === null && isTyped(old)) close(old);
      else replace(old, fresh);
    }
    for (const fresh of page.querySelectorAll("[data-part]")) {
      if (document.getElementById(fresh.id) === null) {
        const before = fresh.nextElementSibling && document.getElementById(fresh.nextElementSibling.id);
        main.insertBefore(document.importNode(fresh, true), before);
      }
    }
    began = performance.now();
    tick();
  }

  function tellNews(page) {
    const heading = (from) => from.querySelector("main h1, main h2")?.textContent ?? "";
    const waits = (from) => from.getElementById("waiting")?.textContent ?? heading(from);
    if (document.title !== page.title) {
      document.title = page.title;
      say(waits(page));
    }
  }

  async function refresh() {
    const round = ++rounds;
    const answer = await fetch(location.pathname, { credentials: "same-origin", redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) return signedOut();
    if (answer.status >= 500) throw new Error(`status ${answer.status}`);
    const text = await answer.text();
    // What was asked for later is newer, and may be here before.
    if (!answer.ok || round !== rounds) return undefined;
    const page = new DOMParser().parseFromString(text, "text/html");
    if (isLost) say("");
    isLost = false;
    tellNews(page);
    swap(page);
    return undefined;
  }

  function lose() {
    isLost = true;
    say("The gate does not answer. The page shows what was known before.", true);
  }

  function signedOut() {
    isOut = true;
    source?.close();
    say("You are no longer signed in. Reload the page to sign in again; what you typed is still here.", true);
  }

  let source = null;
  let isOut = false;
  let isLost = false;
  let losing;
  let rounds = 0;
  let waiting = false;
  let version = main?.dataset.version;

  function changed(event) {
    if (event.data === version) return;
    version = event.data;
    refreshIn(PAUSE_MS);
  }

  function refreshIn(pause) {
    if (waiting) return;
    waiting = true;
    setTimeout(async () => {
      waiting = false;
      try {
        await refresh();
      } catch {
        lose();
        refreshIn(LOST_MS);
      }
    }, pause);
  }

  function follow() {
    source = new EventSource("/api/v1/events");
    source.addEventListener("changed", changed);
    source.addEventListener("signed-out", signedOut);
    source.addEventListener("open", () => {
      clearTimeout(losing);
      losing = undefined;
    });
    source.addEventListener("error", () => {
      if (isOut) return;
      // Whatever the gate says next is news: it may be another one, that counts anew.
      version = undefined;
      if (source.readyState === EventSource.CLOSED) setTimeout(followAgain, RETRY_MS);
      else losing ??= setTimeout(lose, LOST_MS);
    });
  }

  // Refused for whatever reason: the page itself tells whether somebody is still signed in.
  async function followAgain() {
    try {
      await refresh();
    } catch {
      lose();
    }
    if (!isOut) follow();
  }

  // The second click of two is swallowed here; the gate would do it no harm either.
  function once(event) {
    const form = event.target;
    if (form.dataset.sent !== undefined) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "";
    // The way back from another page: the form may be sent anew.
    addEventListener("pageshow", () => delete form.dataset.sent, { once: true });
  }

  document.addEventListener("submit", once);
  setInterval(tick, TICK_MS);
  tick();
  if (main !== null) follow();
})();
