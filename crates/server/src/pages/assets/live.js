// Brings a page up to date: the part of it that changes is asked for again and put in place of the old one. What comes
// back is HTML that the server made, parsed without running anything, so there is one way to show things and not two.

const live = document.getElementById("live");
const every = Number(live?.dataset.refresh ?? 0) * 1000;
let under_way = false;
let asked = 0;
let on = true;

/** Somebody reads with care, or fills something in: it must not change under their hands. */
function isBusy() {
  const active = document.activeElement;
  const selection = document.getSelection();
  const selects = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  return !on || selects || live.contains(active) || live.querySelector("details.twice[open]") !== null;
}

/** What tells something that is opened from all others on the page. */
function key(details) {
  const part = details.closest("[aria-label]")?.getAttribute("aria-label") ?? "";
  return `${part} ${details.firstElementChild.textContent}`;
}

async function refresh() {
  if (under_way || document.hidden || isBusy()) return;
  under_way = true;
  asked = Date.now();
  try {
    const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
    // The session is over: the page says so.
    if (answer.redirected) return location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh || isBusy()) return;
    const open = [...live.querySelectorAll("details[open]")].map(key);
    live.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const details of live.querySelectorAll("details")) {
      if (open.includes(key(details))) details.open = true;
    }
    document.title = page.title;
    if (fresh.dataset.refresh === undefined) stop();
  } catch {
    // The server is away: the next time it may be back.
  } finally {
    under_way = false;
  }
}

let timer;

function stop() {
  clearInterval(timer);
  document.getElementById("updates")?.remove();
}

if (live && every > 0) {
  timer = setInterval(refresh, every);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - asked > every) refresh();
  });
  const button = document.createElement("button");
  button.id = "updates";
  button.type = "button";
  button.className = "quiet";
  button.setAttribute("aria-pressed", "true");
  button.textContent = "Updates by itself";
  button.addEventListener("click", () => {
    on = !on;
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Updates by itself" : "Updates paused";
  });
  document.getElementById("main").append(button);
}

// What else knows that something changed, says so.
document.addEventListener("executor:changed", refresh);
