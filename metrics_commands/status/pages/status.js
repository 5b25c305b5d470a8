// The page is complete without this: it only fetches itself again, and takes over what is new.
"use strict";

const INTERVAL = 5000;
const button = document.getElementById("pause");
const connection = document.getElementById("connection");
let paused = false;
let timer = 0;

async function update() {
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(2 * INTERVAL) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok || !page.getElementById("time")) throw new Error(answer.statusText);
    if (hasBegunAnew(page)) location.reload();
    takeOver(page);
    say("");
  } catch {
    say("No answer; trying again.");
  }
  plan();
}

// Another exporter may have other settings, and, after an upgrade, another page.
function hasBegunAnew(page) {
  return page.getElementById("since").dateTime !== document.getElementById("since").dateTime;
}

function takeOver(page) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && fresh.innerHTML !== old.innerHTML && !isMarked(old)) old.replaceChildren(...fresh.childNodes);
  }
}

// What somebody is about to copy stays until it is marked no more.
function isMarked(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function say(text) {
  if (connection.textContent !== text) connection.textContent = text;
}

function plan() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(update, INTERVAL);
}

button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Resume" : "Pause";
  if (paused) clearTimeout(timer);
  else update();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) update();
  else clearTimeout(timer);
});
button.hidden = false;
plan();
