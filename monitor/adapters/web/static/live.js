// Keeps an open page as the monitor has it now: fetches it again and changes only what differs, so
// that focus, selection, scroll, what is open and what is being typed stay as the reader has them.
"use strict";

const EVERY = 15_000; // milliseconds from one update to the next
const SELDOM = 60_000; // in a hidden tab, which shows title and icon alone; longest after failures
const ANSWER_WITHIN = 10_000;
const LATE = 3 * SELDOM; // so old is a page whose laptop slept: it must not look like now

const address = location.origin + location.pathname + location.search; // never with a password
const root = document.documentElement;
const notice = document.createElement("p");
let updatedAt = Date.now(), title = document.title, failures = 0, asking = false, timer;

// -- times: on hover in the reader's zone; by the switch in the text, too --------------------------

const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const CLOCK = { hour: "2-digit", minute: "2-digit" };
const DATE = { year: "numeric", month: "2-digit", day: "2-digit", ...CLOCK, second: "2-digit" };
let storage = {};
try { storage = localStorage; } catch { /* forbidden: the switch holds for this page alone */ }
let local = storage.times === "local";

function written(at, format, timeZone = local ? ownZone : "UTC") { // 2026-11-26 22:49:03 UTC
  return new Intl.DateTimeFormat("sv-SE", { ...format, timeZone, timeZoneName: "short" }).format(at);
}

function localize(part) {
  for (const time of part.querySelectorAll("time[datetime*=T]")) {
    const at = new Date(time.dateTime), text = (time.dataset.text ??= time.textContent);
    const format = /^\s*\d{4}-\d\d-\d\d[T ]/.test(text) ? DATE : /^\s*\d\d:\d\d/.test(text) && CLOCK;
    const shown = local && format ? written(at, format) : text; // "5 min ago" is so in any zone
    if (time.textContent !== shown) time.textContent = shown;
    time.title = `${written(at, DATE, ownZone)} · ${time.dateTime}`;
  }
}

function offerSwitch() {
  const button = document.createElement("button");
  const name = () => (button.textContent = local ? `Times: ${ownZone}` : "Times: UTC");
  button.type = "button";
  button.id = "times";
  button.title = "Show times in UTC, or in your own zone";
  button.addEventListener("click", () => {
    local = !local;
    storage.times = local ? "local" : "UTC";
    name();
    localize(document);
  });
  name();
  localize(document);
  (document.querySelector("body > footer") ?? document.body).append(" · ", button);
}

// -- what differs, and nothing else ----------------------------------------------------------------

const keyOf = (node) => node.getAttribute?.("data-key") || node.id || "";
const isReaders = (node, name) => name === "open" && node.localName === "details";

function match(old, fresh) { // makes `old` as `fresh` is
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = fresh.data);
  if (old.matches("input, select, textarea")) return; // the reader's
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value && !isReaders(old, name)) old.setAttribute(name, value);
  matchChildren(old, fresh);
}

function matchChildren(old, fresh) { // by their key; without one, the next of the same kind
  const wanted = new Set([...fresh.childNodes].map(keyOf)), keyed = new Map();
  for (const child of [...old.childNodes])
    if (!wanted.has(keyOf(child))) child.remove();
    else if (!keyed.has(keyOf(child))) keyed.set(keyOf(child), child);
  let place = old.firstChild;
  for (const next of fresh.childNodes) {
    const key = keyOf(next);
    let same = key ? keyed.get(key) : place;
    while (!key && same && (keyOf(same) || same.nodeName !== next.nodeName)) same = same.nextSibling;
    keyed.delete(key); // a key that stands twice is two things
    if (same?.nodeName !== next.nodeName) {
      old.insertBefore(document.importNode(next, true), place);
      continue;
    }
    if (same === place) place = place.nextSibling;
    else old.insertBefore(same, place);
    match(same, next);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function show(page) { // what moved elsewhere is new there: it is opened and focused again
  const groups = () => [...document.querySelectorAll("main details[data-key]")];
  const open = new Map(groups().map((one) => [keyOf(one), one.open]));
  const focused = document.activeElement, { href } = focused, selection = getSelection();
  const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = selection;
  if (ownZone !== "UTC") localize(page);
  for (const part of ["body > header", "main"]) {
    const [old, fresh] = [document, page].map((one) => one.querySelector(part));
    if (old && fresh) match(old, fresh);
  }
  for (const one of groups()) one.open = open.get(keyOf(one)) ?? one.open;
  const stands = focused.isConnected && focused.href === href;
  const again = stands ? focused : [...document.links].find((one) => one.href === href);
  if (document.activeElement !== again) again?.focus({ preventScroll: true });
  const within = (node, offset) => [node, Math.min(offset, node.length ?? node.childNodes.length)];
  if (!isCollapsed && anchorNode.isConnected && focusNode.isConnected)
    selection.setBaseAndExtent(...within(anchorNode, anchorOffset), ...within(focusNode, focusOffset));
  const [icon, freshIcon] = [document, page].map((one) => one.querySelector("link[rel~=icon]"));
  if (icon && freshIcon && !icon.isEqualNode(freshIcon)) icon.replaceWith(freshIcon);
}

// -- asking again, and saying so when there is no answer -------------------------------------------

async function fetched() {
  let answer, text;
  try {
    answer = await fetch(address, { signal: AbortSignal.timeout(ANSWER_WITHIN) });
    text = await answer.text();
  } catch {
    throw new Error("does not answer");
  }
  const plain = answer.headers.get("Content-Type")?.startsWith("text/plain");
  if (!answer.ok) throw new Error(`answers ${answer.status}${plain ? `: ${text.slice(0, 200)}` : ""}`);
  const page = new DOMParser().parseFromString(text, "text/html");
  if (page.querySelector("main") && page.documentElement.dataset.version) return page;
  throw new Error("is behind something that answers with another page: reload this one");
}

function stale(why) {
  const since = `not updated since ${written(updatedAt, CLOCK)}`;
  root.classList.add("stale");
  document.title = `${since} · ${title}`;
  notice.textContent = `${since[0].toUpperCase()}${since.slice(1)} — the monitor ${why}`;
}

function wait() {
  return document.hidden ? SELDOM : Math.min(SELDOM, EVERY * 2 ** failures);
}

async function update() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  if (Date.now() - updatedAt > LATE) stale("is being asked");
  try {
    const page = await fetched();
    if (page.documentElement.dataset.version !== root.dataset.version) return location.reload();
    show(page);
    [updatedAt, failures] = [Date.now(), 0];
    root.classList.remove("stale");
    // Of all that changes one sentence is read out: the page's own, or else its title.
    const sentence = document.querySelector("main [role=status]") ? "" : page.title;
    if (page.title !== title || document.title !== title) notice.textContent = sentence;
    title = document.title = page.title;
  } catch (error) {
    failures += 1;
    stale(`${error.message.trim()}; next try in ${wait() / 1000} s`);
  } finally {
    asking = false;
    timer = setTimeout(update, wait());
  }
}

notice.id = "live";
notice.setAttribute("role", "status");
document.body.prepend(notice);
if (ownZone !== "UTC") offerSwitch();
timer = setTimeout(update, EVERY);
document.addEventListener("visibilitychange", () => document.hidden || update());
addEventListener("online", update);
addEventListener("pageshow", (event) => event.persisted && update());
