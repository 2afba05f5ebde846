// Asks for the same page every few seconds and puts the parts that differ in place; sends what buttons ask for.
"use strict";

const EVERY_MS = 5000;
const TIMEOUT_MS = 20000;
const regions = [...document.querySelectorAll("[data-live]")];
const served = new Map(regions.map((region) => [region.id, region.innerHTML]));
const said = document.getElementById("dito");
const contact = document.getElementById("contato");
let timer = 0;
let asked = 0;

document.documentElement.classList.remove("no-script");

async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine === asked) show(page);
  } catch {
    if (mine === asked) lost();
  }
  if (mine === asked) timer = setTimeout(refresh, EVERY_MS);
}

function show(page) {
  document.title = page.title;
  document.documentElement.classList.remove("lost");
  if (contact.textContent) contact.textContent = "";
  for (const region of regions) {
    const html = page.getElementById(region.id).innerHTML;
    if (html !== served.get(region.id)) replace(region, html);
  }
}

function lost() {
  document.documentElement.classList.add("lost");
  const since = document.querySelector("#relogio time").textContent;
  const words = `Sem contato com o worker; o que se vê é das ${since}.`;
  if (contact.textContent !== words) contact.textContent = words;
}

// What a person is in the middle of survives: open details, typed text, the caret, the focus, scrolled tables.
function replace(region, html) {
  const open = [...region.querySelectorAll("details[open]")].map((each) => each.id);
  const typed = [...region.querySelectorAll("input")].map((each) => [each.id, each.value]);
  const scrolled = [...region.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
  const held = region.contains(document.activeElement) ? document.activeElement : null;
  const place = held && focusable(region).indexOf(held);
  const caret = held?.selectionStart == null ? null : [held.selectionStart, held.selectionEnd];

  region.innerHTML = html;
  served.set(region.id, html);

  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const [id, value] of typed) {
    const input = document.getElementById(id);
    if (input) input.value = value;
  }
  region.querySelectorAll(".scroll").forEach((each, nth) => {
    [each.scrollLeft, each.scrollTop] = scrolled[nth] ?? [0, 0];
  });
  if (held) hold(region, held.id, place, caret);
}

// Where the focus goes when what had it is gone: to the heading, so that the keyboard stays where it was.
function hold(region, id, place, caret) {
  const again = id ? document.getElementById(id) : focusable(region)[place];
  (again ?? region.querySelector("h2"))?.focus({ preventScroll: true });
  if (again && caret) again.setSelectionRange(...caret);
}

function focusable(region) {
  return [...region.querySelectorAll("summary, button, input, [tabindex]")];
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  say(await send(form));
  delete form.dataset.busy;
  await refresh();
});

async function send(form) {
  const fields = Object.fromEntries(new FormData(form));
  const json = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields) };
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(Object.keys(fields).length ? json : {}),
    });
    if (answer.ok) return { text: form.dataset.done, tone: "good" };
    return { text: sentence(await answer.json()), tone: "bad" };
  } catch {
    return { text: "O worker não respondeu; nada se sabe do pedido. Confira a lista antes de repetir.", tone: "bad" };
  }
}

function sentence(problem) {
  const fields = (problem.errors ?? []).map((each) => `${each.field} ${each.message}.`);
  return fields.join(" ") || problem.detail;
}

function say({ text, tone }) {
  said.className = `notice ${tone}`;
  said.textContent = text;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});

timer = setTimeout(refresh, EVERY_MS);
