// Follows a job's log. Lines come painted: a list of texts, each with classes out of the server's closed set. They
// become text nodes and nothing else.

const log = document.getElementById("log");
/** Lines of one entry that are kept on the page: of more the latest. */
const MOST_LINES = 20_000;
/** Pixels from the end at which somebody counts as being there. */
const NEAR = 80;
/** How often, and after how many milliseconds each time, it is tried to follow a log anew that was refused. */
const TRIES = 12;
const TRY_AGAIN = 5_000;
const CLASSES = /^(?:[a-z]{1,2}[0-9]{0,2})(?: [a-z]{1,2}[0-9]{0,2}){0,6}$/;
const FAULT = /error|fatal|panic|failed|exception/i;

/** One line as an element or a text. */
function painted([isError, runs], isOpen) {
  const parts = runs.map(([classes, text]) => {
    if (!CLASSES.test(classes)) return document.createTextNode(text);
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = text;
    return span;
  });
  const line = document.createElement("span");
  line.className = `${isOpen ? "open" : "line"}${isError ? " err" : ""}`;
  line.append(...parts);
  return line;
}

function fill(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

function entryElement(number) {
  return document.getElementById(`e-${number}`);
}

function makeEntry({ entry, part, name }) {
  const made = fill("entry");
  made.id = `e-${entry}`;
  made.querySelector(".part").textContent = part;
  made.querySelector(".name").textContent = name;
  made.querySelector("pre").setAttribute("aria-label", `Output of ${name}`);
  made.querySelector(".outcome").replaceWith(fill("running"));
  log.querySelector(".nothing")?.remove();
  document.getElementById("entries").append(made);
  return made;
}

function addLines(pre, lines, open) {
  pre.querySelector(".open")?.remove();
  const added = document.createDocumentFragment();
  for (const line of lines) added.append(painted(line, false), "\n");
  if (open) added.append(painted(open, true));
  pre.append(added);
  for (let more = pre.childNodes.length - 2 * MOST_LINES; more > 0; more -= 1) pre.firstChild.remove();
}

/** Marks the line that tells of the first fault, and leads to it. */
function markFault(element) {
  if (document.getElementById("error")) return;
  const lines = [...element.querySelectorAll(".line")];
  const line = lines.find((one) => FAULT.test(one.textContent)) ?? lines.at(-1) ?? element.querySelector("pre");
  line.id = "error";
  document.getElementById("to-error").hidden = false;
}

function endEntry(element, { part, name, exitCode, duration }) {
  const state = element.querySelector("summary .state");
  const ended = fill(exitCode === 0 ? "good" : "bad");
  if (exitCode !== 0) ended.lastChild.textContent = exitCode === -1 ? "no exit code" : `exit ${exitCode}`;
  state.replaceWith(ended);
  const took = element.querySelector(".took");
  if (took && duration) took.textContent = duration;
  if (exitCode !== 0) markFault(element);
  else if (part !== "Step") element.open = false;
}

function changed() {
  document.dispatchEvent(new CustomEvent("executor:changed"));
}

function follow(cursor) {
  const attempt = Number(log.dataset.attempt);
  const status = log.querySelector(".follow");
  const scrolls = () => document.documentElement;
  let follows = false;
  let moving = false;
  let newest = null;
  const isAtEnd = () => scrolls().scrollHeight - scrolls().scrollTop - innerHeight < NEAR;
  const toEnd = () => {
    if (!follows || moving) return;
    moving = true;
    requestAnimationFrame(() => {
      moving = false;
      if (!follows) return;
      if (newest) newest.scrollTop = newest.scrollHeight;
      scrollTo({ top: scrolls().scrollHeight });
    });
  };

  const button = document.createElement("button");
  button.type = "button";
  button.id = "follow";
  button.className = "quiet";
  const show = () => {
    button.setAttribute("aria-pressed", String(follows));
    button.textContent = follows ? "Following" : "Follow";
  };
  show();
  button.addEventListener("click", () => {
    follows = !follows;
    show();
    toEnd();
  });
  // Who scrolls away reads something.
  const leave = () => setTimeout(() => {
    follows = follows && isAtEnd();
    show();
  }, 100);
  for (const kind of ["wheel", "touchmove"]) addEventListener(kind, leave, { passive: true });
  addEventListener("keydown", ({ key }) => {
    if (["ArrowUp", "Home", "PageUp"].includes(key)) leave();
  });
  log.querySelector(".tools").prepend(button);
  log.querySelector(".reload")?.remove();

  let source = null;
  let last = cursor;
  let refused = 0;
  const heard = [];
  const on = (name, does) => heard.push([name, (event) => {
    last = event.lastEventId || last;
    refused = 0;
    status.hidden = true;
    does(JSON.parse(event.data));
  }]);
  const open = () => {
    source = new EventSource(`/jobs/${log.dataset.job}/log/stream?cursor=${encodeURIComponent(last)}`);
    for (const [name, hears] of heard) source.addEventListener(name, hears);
    source.addEventListener("error", fails);
  };
  // The browser tries again by itself, unless it was refused: the server may have much to do.
  const fails = () => {
    if (source.readyState !== EventSource.CLOSED) return;
    refused += 1;
    status.hidden = false;
    if (refused <= TRIES) {
      status.textContent = "The log can't be followed just now: it is tried again.";
      setTimeout(open, TRY_AGAIN);
    } else {
      status.textContent = "The log is not followed any more: reload the page.";
    }
  };
  on("state", ({ attempt: now }) => {
    // Another try has a log of its own.
    if (now !== attempt) location.reload();
    changed();
  });
  on("entry", (event) => {
    if (event.attempt !== attempt) return;
    const element = entryElement(event.entry) ?? makeEntry(event);
    const pre = element.querySelector("pre");
    if (event.exitCode !== null) {
      if (event.lines.length > 0) addLines(pre, event.lines, null);
      endEntry(element, event);
    }
    changed();
    toEnd();
  });
  on("text", ({ attempt: of, entry, lines, open }) => {
    const element = of === attempt ? entryElement(entry) : null;
    if (!element) return;
    newest = element.querySelector("pre");
    addLines(newest, lines, open);
    toEnd();
  });
  on("end", () => {
    source.close();
    button.remove();
    status.hidden = false;
    status.textContent = "The job has ended.";
    changed();
  });
  open();
}

// A link into a part that is folded opens it.
function openTarget() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const part = target && target.closest("details.entry");
  if (part) {
    part.open = true;
    target.scrollIntoView({ block: "center" });
  }
}

if (log) {
  addEventListener("hashchange", openTarget);
  openTarget();
  if (log.dataset.cursor !== undefined) follow(log.dataset.cursor);
}
