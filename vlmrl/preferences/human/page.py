"""The page on which a person answers: one HTML document, nothing fetched from elsewhere."""

from __future__ import annotations

from vlmrl.page import STYLE


def label_page(nonce: str, fps: float) -> str:
    """Return the page; `nonce` is the one that the Content-Security-Policy allows, `fps` the speed of the clips."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>vlmrl label</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f'<style nonce="{nonce}">{STYLE}{LABEL_STYLE}</style></head>'
        f'<body data-fps="{fps:g}">{BODY}<script nonce="{nonce}">{SCRIPT}</script></body></html>\n'
    )


def _clip(side: str, key: str) -> str:
    name = side.capitalize()
    return (
        f'<button type="button" class="clip" data-choice="{side}" aria-keyshortcuts="{key}" '
        f'aria-label="{name} clip is closer to the goal">'
        f'<span class="stage"><canvas id="{side}" role="img" aria-label="{name} clip" width="1" height="1"></canvas>'
        f'</span><span class="what"><kbd>{"←" if side == "left" else "→"}</kbd> {name} is closer</span></button>'
    )


def _action(name: str, keys: str, shortcut: str, text: str) -> str:
    return (
        f'<button type="button" id="{name}" data-choice="{name}" aria-keyshortcuts="{shortcut}">'
        f"<kbd>{keys}</kbd> {text}</button>"
    )


BODY = f"""
<main><header><p class="kicker">vlmrl &middot; label</p><h1><q id="goal"></q></h1>
<p id="ask">Which clip is closer to this goal?</p></header>
<noscript><p>This page needs JavaScript.</p></noscript>
<div id="work" hidden><div class="pair" role="group" aria-labelledby="ask">
{_clip("left", "ArrowLeft")}{_clip("right", "ArrowRight")}</div></div>
<div id="done" hidden><p class="big" id="donetext"></p></div>
<nav aria-label="Other answers">
{_action("tie", "↓", "ArrowDown Space", "Equally close")}{_action("skip", "s", "s", "Skip: cannot tell")}
{_action("undo", "u", "u", "Undo")}{_action("pause", "p", "p", "Pause")}{_action("finish", "f", "f", "Finish")}</nav>
<div class="bar" id="bar" role="progressbar" aria-label="Pairs answered" aria-valuemin="0" aria-valuenow="0"
aria-valuemax="1"><div id="fill"></div></div>
<dl class="figures"><div><dt>answered</dt><dd id="answered">0</dd></div>
<div><dt>skipped</dt><dd id="skipped">0</dd></div>
<div id="agreeing" hidden><dt id="agreelabel">agreement with the model so far</dt><dd id="agreement"></dd></div></dl>
<p id="notice" role="status" aria-live="polite"></p></main>
"""

LABEL_STYLE = """
main{max-width:1000px;padding:28px 28px 32px}
header{margin-bottom:18px}
header .kicker{margin-bottom:8px}
h1{font-size:clamp(24px,3.2vw,36px);margin-bottom:6px;min-height:1.16em}
[hidden]{display:none!important}
.pair{grid-template-columns:1fr 1fr}
button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--faint);border-radius:10px;cursor:pointer}
button:hover:not(:disabled),button.chosen{border-color:var(--a)}
button.chosen{box-shadow:0 0 0 1px var(--a)}
button:focus-visible{outline:3px solid var(--a);outline-offset:2px}
button:disabled{opacity:.45;cursor:default}
.clip{display:flex;flex-direction:column;align-items:stretch;gap:12px;padding:14px;text-align:center}
.stage{display:flex;align-items:center;justify-content:center}
canvas{display:block;width:100%;height:auto;max-height:min(50vh,480px);object-fit:contain;border-radius:6px;
border:1px solid var(--faint)}
canvas.large{image-rendering:pixelated}
kbd{display:inline-block;min-width:26px;padding:1px 7px;font:600 13px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace;
text-align:center;background:var(--paper);border:1px solid var(--faint);border-bottom-width:2px;border-radius:6px}
nav{display:flex;flex-wrap:wrap;gap:10px;margin:16px 0 20px}
nav button{padding:8px 14px 8px 9px;font-size:15px}
#finish{margin-left:auto}
.bar{height:6px;border-radius:3px;background:var(--faint);overflow:hidden}
#fill{height:100%;width:0;background:var(--a);transition:width .2s}
.figures{border:0;padding:14px 0 0}
.figures dd{font-size:20px}
.big{font-size:20px;padding:64px 0;text-align:center}
#notice{min-height:1.55em;margin:10px 0 0;color:var(--soft)}
#notice.bad{color:var(--c);font-weight:600}
@media(max-width:560px){main{padding:16px}.pair{gap:10px}.clip{padding:8px}#finish{margin-left:0}}
@media(prefers-reduced-motion:reduce){#fill{transition:none}}
"""

SCRIPT = r"""
"use strict";
const by = id => document.getElementById(id);
const fps = parseFloat(document.body.dataset.fps), HOLD = 6;
const tab = sessionStorage.vlmrlTab ||= Array.from(crypto.getRandomValues(new Uint8Array(9)), b => b.toString(36)).join("");
const keys = {ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": "tie", s: "skip", u: "undo", p: "pause", f: "finish"};
let pair = null, clips = {}, busy = true, tick = 0, over = false;
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

async function post(what, more = {}) {
  const reply = await fetch(what, {method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({tab, ...more})});
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.error || "status " + reply.status);
  return content;
}

function say(text, bad = false) {
  by("notice").textContent = text;
  by("notice").classList.toggle("bad", bad);
}

async function picture(side) {
  const image = new Image();
  await new Promise((done, failed) => {  // decode() would wait for ever in a tab that is not in front
    image.onload = done;
    image.onerror = () => failed(new Error("a clip could not be loaded"));
    image.src = pair[side].url;
  });
  return {...pair[side], image};
}

function draw() {
  const length = Math.max(clips.left?.frames || 1, clips.right?.frames || 1);
  const now = tick % (length === 1 ? 1 : length + HOLD);
  for (const side of ["left", "right"]) {
    const clip = clips[side];
    if (!clip) continue;
    const number = Math.min(now, clip.frames - 1), canvas = by(side);
    if (canvas.width !== clip.width || canvas.height !== clip.height) {
      canvas.width = clip.width; canvas.height = clip.height;
    }
    canvas.classList.toggle("large", clip.width <= 160);
    canvas.getContext("2d").drawImage(clip.image, (number % clip.columns) * clip.width,
      Math.floor(number / clip.columns) * clip.height, clip.width, clip.height, 0, 0, clip.width, clip.height);
    canvas.dataset.frame = number;
  }
}

function enable() {
  for (const button of document.querySelectorAll("button")) button.disabled = over || !pair;
  by("undo").disabled = over || !enable.undo;
  by("finish").disabled = over;
}

async function show(state) {
  pair = state.pair;
  enable.undo = state.can_undo;
  show.elsewhere = state.elsewhere;
  by("work").hidden = !pair;
  by("done").hidden = !!pair;
  by("ask").hidden = !pair;
  if (pair) {
    by("goal").textContent = pair.goal;
    const [left, right] = await Promise.all([picture("left"), picture("right")]);
    clips = {left, right};
    tick = 0;
    for (const side of ["left", "right"]) {
      const name = side === "left" ? "Left" : "Right", count = clips[side].frames;
      by(side).setAttribute("aria-label", name + (count > 1 ? ` clip, ${count} frames, looping` : " picture"));
    }
    draw();
  } else {
    by("donetext").textContent = state.elsewhere
      ? "The remaining pairs are open in another tab." : "All pairs are answered. Thank you.";
  }
  const {answered, total, skipped, agreement} = state;
  by("answered").textContent = `${answered} of ${total}`;
  by("skipped").textContent = skipped;
  by("fill").style.width = (total ? 100 * answered / total : 100) + "%";
  by("bar").setAttribute("aria-valuenow", answered);
  by("bar").setAttribute("aria-valuemax", total);
  by("agreeing").hidden = !agreement.of;
  if (agreement.of) by("agreement").textContent =
    `${Math.round(100 * agreement.same / agreement.of)}% (${agreement.same} of ${agreement.of})`;
  document.body.dataset.pair = pair ? pair.key : "none";
  enable();
}

async function act(choice) {
  if (busy || over) return;
  if (choice === "pause") {
    paused = !paused;
    by("pause").lastChild.textContent = paused ? " Play" : " Pause";
    return;
  }
  if (!pair && choice !== "undo" && choice !== "finish") return;
  busy = true;
  const button = document.querySelector(`[data-choice=${choice}]`);
  button.classList.add("chosen");
  try {
    let state;
    if (choice === "finish") {
      state = await post("finish");
      over = true;
    } else if (choice === "undo") state = await post("undo");
    else state = await post("answer", {key: pair.key, choice});
    if (over) {
      by("work").hidden = by("ask").hidden = true;
      by("done").hidden = false;
      by("donetext").textContent = `Saved: ${state.answered} of ${state.total} pairs. You can close this page.`;
      enable();
      document.body.dataset.pair = "finished";
    } else await show(state);
    say(state.notice || "");
  } catch (error) {
    say(error instanceof TypeError ? "vlmrl does not answer; is it still running? Your answers so far are saved."
      : "Not saved: " + error.message, true);
  } finally {
    button.classList.remove("chosen");
    busy = false;
  }
}

addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const onButton = document.activeElement instanceof HTMLButtonElement;
  if (onButton && (event.key === " " || event.key === "Enter")) return;  // the button's own
  const choice = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!choice) return;
  event.preventDefault();
  if (!event.repeat) act(choice);
});
for (const button of document.querySelectorAll("[data-choice]"))
  button.addEventListener("click", event => {
    if (event.detail) button.blur();  // after the mouse, space means a tie again
    act(button.dataset.choice);
  });
setInterval(() => { if (!paused && pair) { tick += 1; draw(); } }, 1000 / fps);
setInterval(() => { if (!over && pair) post("renew").catch(() => {}); }, 30000);
setInterval(() => {  // a pair may come free when another tab is closed
  if (over || busy || pair || !show.elsewhere) return;
  busy = true;
  post("next").then(show).catch(() => {}).finally(() => { busy = false; });
}, 5000);
if (paused) by("pause").lastChild.textContent = " Play";
post("next").then(state => { say(state.notice); return show(state); }).catch(error => say(error.message, true)).finally(() => { busy = false; });
"""
