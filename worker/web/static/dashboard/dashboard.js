// Fetches the same page every few seconds and changes only what differs; sends the requests of buttons.
"use strict";

const EVERY_MS = 5000;
const HIDDEN_MS = 15000;
const TIMEOUT_MS = 20000;
const FOLLOW_MS = 1000;
const FOLLOW_TIMES = 90;
const KEPT_MS = 60000;
const REVEALED_MS = 120000;
const REASONS = {
  401: "A sessão expirou: recarregue a página e entre de novo",
  503: "O worker está sem o banco de dados",
};
const regions = [...document.querySelectorAll("[data-live]")];
const status = document.getElementById("dito");
const contact = document.getElementById("contato");
const news = document.getElementById("novidade");
const withoutDatabase = "withoutDatabase" in document.documentElement.dataset;
let timer = 0;
let latest = 0;
let tasks = taskCount(document);

document.documentElement.classList.remove("no-script");

// ----------------------------------------------------------------------------------------------- refreshing

async function refresh() {
  clearTimeout(timer);
  const mine = ++latest;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok && withoutDatabase) return location.reload();
    if (!answer.ok && !(withoutDatabase && answer.status === 503)) throw answer;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine === latest) show(page);
  } catch (failure) {
    if (mine === latest) lost(failure);
  }
  if (mine === latest) schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
  else if (alerting()) timer = setTimeout(refresh, HIDDEN_MS);
}

function show(page) {
  document.title = page.title;
  document.documentElement.classList.remove("lost");
  setText(contact, "");
  for (const region of regions) {
    const fresh = page.getElementById(region.id);
    if (fresh) update(region, fresh);
  }
  countMarked();
  announce(taskCount(page));
}

function lost(failure) {
  document.documentElement.classList.add("lost");
  const since = document.querySelector("#relogio time").textContent;
  const why = REASONS[failure.status] ?? "Sem contato com o worker";
  setText(contact, `${why}; o que se vê é das ${since}.`);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Where the focus goes when what had it is gone: to the heading, so that the keyboard stays where it was.
function update(region, fresh) {
  const focused = region.contains(document.activeElement);
  for (const { name, value } of fresh.attributes) if (region.getAttribute(name) !== value) region.setAttribute(name, value);
  merge(region, fresh);
  if (focused && !region.contains(document.activeElement)) region.querySelector("h2")?.focus({ preventScroll: true });
}

// Makes the children of `shown` those of `fresh`. A node that is in both stays the same node, and with it the
// focus, the selection, the scroll position, typed text, open details and marked boxes.
function merge(shown, fresh) {
  const named = new Map([...shown.children].filter((each) => each.id).map((each) => [each.id, each]));
  const all = [...fresh.childNodes];
  const isKept = (node) => keeps(node) && !all.some((each) => alike(node, each));
  let place = shown.firstChild;
  for (const wanted of all) {
    while (isKept(place)) place = place.nextSibling;
    const same = (wanted.id && named.get(wanted.id)) || (alike(place, wanted) ? place : null);
    if (!same) {
      shown.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (same === place) place = place.nextSibling;
    else shown.insertBefore(same, place);
    adopt(same, wanted);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    if (!keeps(gone)) gone.remove();
  }
  for (const each of [...shown.children]) if (isKept(each)) prune(each);
}

// An outcome stays on the page for a while, with the row it is about and the list that holds the row.
function keeps(node) {
  return node?.nodeType === Node.ELEMENT_NODE && (node.hasAttribute("data-kept") || node.querySelector("[data-kept]") !== null);
}

function prune(node) {
  if (node.hasAttribute("data-kept")) return;
  for (const each of [...node.children]) {
    if (keeps(each)) prune(each);
    else each.remove();
  }
}

function alike(shown, wanted) {
  return shown && shown.nodeType === wanted.nodeType && shown.nodeName === wanted.nodeName && (shown.id ?? "") === (wanted.id ?? "");
}

function adopt(shown, wanted) {
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    if (shown.nodeValue !== wanted.nodeValue) shown.nodeValue = wanted.nodeValue;
    return;
  }
  if (shown.hasAttribute("data-local") || shown.isEqualNode(wanted)) return;
  const own = shown.localName === "details" ? ["open"] : ["hidden", "aria-invalid", "aria-describedby", "aria-expanded", "data-busy", "data-kept"];
  for (const name of shown.getAttributeNames()) if (!wanted.hasAttribute(name) && !own.includes(name)) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) !== value && !own.includes(name)) shown.setAttribute(name, value);
  }
  if (!["input", "select", "textarea"].includes(shown.localName)) merge(shown, wanted);
}

// -------------------------------------------------------------------------------------------------- sending

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if ("native" in form.dataset) return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  complain(form, "");
  const outcome = await send(form.action, form.dataset.method ?? "POST", Object.fromEntries(new FormData(form)));
  delete form.dataset.busy;
  if (outcome.ok) say(form.dataset.done, "good");
  else if (!complain(form, outcome.text)) say(outcome.text, "bad");
  if (form.dataset.follow) retried(rowOf(form), outcome, form.dataset);
  await refresh();
});

function retried(row, outcome, { done, follow: address }) {
  if (!outcome.ok) return writeFinalOutcome(row, outcome.text, "bad");
  writeOutcome(row, done, "good");
  keepRow(row);
  follow([{ row, address }]);
}

async function send(address, method, fields) {
  const json = { headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields) };
  try {
    const answer = await fetch(address, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(Object.keys(fields).length ? json : {}),
    });
    if (answer.ok) return { ok: true };
    return { ok: false, text: sentence(answer.status, await answer.json()) };
  } catch {
    return { ok: false, text: "O worker não respondeu; nada se sabe do pedido. Confira a lista antes de repetir." };
  }
}

function sentence(code, problem) {
  if (code === 401) return "A sessão expirou: recarregue a página e entre de novo.";
  if (code === 409) return "Outra pessoa já mudou isto, ou o estado não permite mais. Veja como está agora.";
  const fields = (problem.errors ?? []).map((each) => `${each.field} ${each.message}.`);
  return fields.join(" ") || problem.detail;
}

// An error stands beside its field. Returns whether there is one.
function complain(form, text) {
  const field = form.querySelector("input");
  form.querySelector(".problem")?.remove();
  field?.removeAttribute("aria-invalid");
  field?.removeAttribute("aria-describedby");
  if (!field || !text) return false;
  const problem = Object.assign(document.createElement("p"), { className: "problem", id: `${field.id}-problema`, textContent: text });
  problem.setAttribute("role", "alert");
  problem.dataset.kept = "";
  form.append(problem);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", problem.id);
  field.focus();
  return true;
}

// ------------------------------------------------------------------------------------------------- outcomes

// The outcome of an action stands in the row that it is about until a minute after it is final. The row stays,
// without its buttons, after the list has lost it. Screen readers read the summary in the status line.
const rowOf = (element) => element.closest("li[id], section");
const outcomeTimers = new WeakMap();

function writeOutcome(row, words, tone) {
  const id = `resultado-${row.id}`;
  const text = document.getElementById(id) ?? row.appendChild(Object.assign(document.createElement("p"), { id }));
  text.className = `outcome ${tone}`;
  text.textContent = words;
  text.dataset.kept = "";
  text.setAttribute("aria-hidden", "true");
  clearTimeout(outcomeTimers.get(text));
  return text;
}

function writeFinalOutcome(row, words, tone) {
  const text = writeOutcome(row, words, tone);
  const remove = () => {
    text.remove();
    delete row.dataset.kept;
  };
  outcomeTimers.set(text, setTimeout(remove, KEPT_MS));
}

function keepRow(row) {
  if (row.localName !== "li") return;
  row.dataset.kept = "";
  const controls = [row.querySelector(".actions"), row.querySelector(".box")].filter(Boolean);
  const focused = controls.some((each) => each.contains(document.activeElement));
  if (focused) row.closest("section").querySelector("h2").focus({ preventScroll: true });
  for (const each of controls) each.remove();
}

// Reads each call until its new try is over, one after the other, and writes its outcome into its row.
async function follow(tries) {
  let open = tries;
  for (let times = 0; open.length && times < FOLLOW_TIMES; times++) {
    await new Promise((resume) => setTimeout(resume, FOLLOW_MS));
    for (const each of open) {
      each.outcome = await outcomeAt(each.address);
      if (each.outcome) writeFinalOutcome(each.row, each.outcome.words, each.outcome.tone);
    }
    open = open.filter((each) => !each.outcome);
  }
  for (const each of open) writeFinalOutcome(each.row, "A nova tentativa ainda não terminou.", "quiet");
  summarize(tries);
}

// Null while the call is at work, and while the worker does not answer.
async function outcomeAt(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (!answer) return null;
  if (!answer.ok) return { words: "Não foi possível acompanhar a nova tentativa.", tone: "bad" };
  const call = await answer.json();
  if (["received", "running"].includes(call.state)) return null;
  if (call.state === "done") return { words: `Concluída: protocolo ${call.protocolo ?? "-"}.`, tone: "good" };
  return { words: `A nova tentativa não deu certo (${call.error ?? call.state}).`, tone: "bad" };
}

function summarize(tries) {
  const [first] = tries;
  if (tries.length === 1 && first.outcome) return say(first.outcome.words, first.outcome.tone);
  const done = tries.filter((each) => each.outcome?.tone === "good").length;
  const open = tries.filter((each) => !each.outcome).length;
  const failed = tries.length - done - open;
  const parts = [
    done && count(done, "chamada concluída", "chamadas concluídas"),
    failed && count(failed, "tentativa não deu certo", "tentativas não deram certo"),
    open && count(open, "tentativa ainda não terminou", "tentativas ainda não terminaram"),
  ];
  say(`${parts.filter(Boolean).join("; ")}.`, failed || open ? "bad" : "good");
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

function say(text, tone) {
  status.className = `notice ${tone}`;
  status.textContent = text;
}

// ------------------------------------------------------------------------------------------------ many at once

const marked = () => [...document.querySelectorAll("[data-item]:checked")];

function countMarked() {
  const number = marked().length;
  for (const bar of document.querySelectorAll("[data-many]")) {
    if (bar.hidden === Boolean(number)) bar.hidden = !number;
    setText(bar.querySelector("[data-count]"), count(number, "marcada", "marcadas"));
  }
}

// Marks all that are visible; a second time, none.
async function markAll() {
  const boxes = [...document.querySelectorAll("[data-item]")].filter((each) => each.checkVisibility());
  const all = boxes.every((each) => each.checked);
  for (const each of boxes) each.checked = !all;
  countMarked();
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-item]")) countMarked();
});

// Acts on the marked items one after the other. A refusal is written into its row.
async function forMarked(kinds, verb, fields) {
  const items = marked().filter((each) => kinds.includes(each.dataset.kind));
  const root = document.querySelector(".search").getAttribute("action").replace(/search$/, "");
  const accepted = [];
  for (const [index, box] of items.entries()) {
    say(`${index + 1} de ${items.length}…`, "quiet");
    const row = rowOf(box);
    const address = `${root}v1/${box.dataset.kind}/${box.dataset.item}`;
    const outcome = await send(`${address}/${verb}`, "POST", fields);
    if (!outcome.ok) {
      writeFinalOutcome(row, outcome.text, "bad");
      continue;
    }
    box.checked = false;
    accepted.push({ row, address });
  }
  return { accepted, refused: items.length - accepted.length };
}

function sayMany({ accepted, refused }, one, many) {
  const parts = [count(accepted.length, one, many)];
  if (refused) parts.push(`${count(refused, "recusada", "recusadas")}: o porquê está na linha de cada uma`);
  say(`${parts.join("; ")}.`, refused ? "bad" : "good");
}

async function retryMarked() {
  if (!marked().some((each) => each.dataset.kind === "calls")) return say("Só chamadas podem ser tentadas de novo.", "bad");
  const result = await forMarked(["calls"], "retry", {});
  for (const { row } of result.accepted) {
    writeOutcome(row, "Nova tentativa pedida.", "good");
    keepRow(row);
  }
  sayMany(result, "nova tentativa pedida", "novas tentativas pedidas");
  if (result.accepted.length) follow(result.accepted);
  await refresh();
}

async function dismissMarked(reason) {
  sayMany(await forMarked(["calls", "runs"], "dismiss", { reason }), "dispensada", "dispensadas");
  await refresh();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button || button.dataset.busy) return;
  const action = actionOf(button);
  if (!action) return;
  button.dataset.busy = "yes";
  await action();
  delete button.dataset.busy;
});

function actionOf(button) {
  if ("manyRetry" in button.dataset) return retryMarked;
  if ("manyDismiss" in button.dataset) return () => dismissMarked(button.closest("[data-many]").querySelector("select").value);
  if ("markAll" in button.dataset) return markAll;
  if (button.dataset.reveal) return () => reveal(button);
  if (button.dataset.copy) return () => copy(button);
  return button.id === "avisar" ? toggleAlerts : null;
}

// --------------------------------------------------------------------------------------- what is personal

const NAMES = { document: "Documento", contact: "Contato", resumo: "Resumo", receipt: "Comprovante", motivo: "Motivo" };

async function reveal(button) {
  const place = document.getElementById(button.getAttribute("aria-controls"));
  if (!place.hidden) return hide(button, place);
  const answer = await fetch(button.dataset.reveal, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (!answer) return say("O worker não respondeu.", "bad");
  const data = await answer.json();
  if (!answer.ok) return say(sentence(answer.status, data), "bad");
  place.replaceChildren(...Object.keys(NAMES).filter((name) => name in data).flatMap((name) => fact(NAMES[name], data[name])));
  place.hidden = false;
  button.setAttribute("aria-expanded", "true");
  setTimeout(() => hide(button, place), REVEALED_MS);
}

function fact(name, value) {
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  return [term, Object.assign(document.createElement("dd"), { textContent: value ?? "não há" })];
}

function hide(button, place) {
  place.replaceChildren();
  place.hidden = true;
  button.setAttribute("aria-expanded", "false");
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  say(copied ? "Copiado." : "O navegador não deixou copiar: selecione o texto.", copied ? "good" : "bad");
}

// ------------------------------------------------------------------------------------------ notifications

const toggle = document.getElementById("avisar");
const ALERTS = "ticket-worker.avisar";
let sound = null;

function taskCount(page) {
  const counted = page.querySelector("[data-tasks]");
  return counted ? Number(counted.dataset.tasks) : null;
}

function announce(number) {
  if (number === null || number === tasks) return;
  const words = count(number, "item precisa de uma pessoa", "itens precisam de uma pessoa");
  setText(news, `${words}; antes ${tasks === 1 ? "era 1" : `eram ${tasks}`}.`);
  if (number > tasks && alerting()) alertPerson(words);
  tasks = number;
}

function alerting() {
  return localStorage.getItem(ALERTS) === "yes" && globalThis.Notification?.permission === "granted";
}

function alertPerson(words) {
  new Notification("ticket-worker", { body: words, tag: "ticket-worker" });
  if (!sound) return;
  const tone = sound.createOscillator();
  const volume = sound.createGain();
  volume.gain.setValueAtTime(0.15, sound.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, sound.currentTime + 0.6);
  tone.connect(volume).connect(sound.destination);
  tone.start();
  tone.stop(sound.currentTime + 0.6);
}

async function toggleAlerts() {
  if (alerting()) {
    localStorage.removeItem(ALERTS);
    return showAlerts("Avisos desligados.");
  }
  if (!globalThis.Notification) return showAlerts("Este navegador só avisa por HTTPS ou na própria máquina.");
  if ((await Notification.requestPermission()) !== "granted") {
    return showAlerts("O navegador recusou: permita as notificações deste site e tente de novo.");
  }
  localStorage.setItem(ALERTS, "yes");
  sound = globalThis.AudioContext ? new AudioContext() : null;
  showAlerts("Ligados: um aviso e um som quando algo novo precisar de uma pessoa.");
}

function showAlerts(text) {
  toggle.setAttribute("aria-pressed", String(alerting()));
  setText(document.getElementById("avisar-dito"), text);
}

if (toggle) showAlerts("");

document.addEventListener("visibilitychange", () => (document.hidden ? schedule() : refresh()));
schedule();
