// The conversation: streamed, stopped, edited, judged and corrected. Every word of a model goes in as text; Markdown
// comes back from our own server, escaped. Nothing is kept but this tab's conversation, until the tab closes.
"use strict";
const words = JSON.parse(document.getElementById("words").textContent);
const token = document.querySelector("meta[name=vortex-token]").content;
const [talk, news, form, question, send, stop, anew, plain] = ["talk", "news", "ask", "question", "send", "stop", "anew", "plain"].map((id) => document.getElementById(id));
const KEPT = "vortex-conversation";
const MAX_KEPT = 1_000_000;
let turns = []; // {role, content, node, id}
let running = null;

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const button = (text, act, className) => {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
};
const post = (path, body, signal) =>
  fetch(`/console/api/${path}`, {
    method: "POST", signal, redirect: "error",
    headers: { "content-type": "application/json", "x-console-token": token }, body: JSON.stringify(body),
  });

function keep() {
  const kept = JSON.stringify(turns.map(({ role, content }) => ({ role, content })));
  try {
    if (kept.length <= MAX_KEPT) sessionStorage.setItem(KEPT, kept);
  } catch {
    // a full store loses the conversation at a reload, nothing else
  }
}

function turn(role, content) {
  const node = make("article", `turn ${role}`);
  if (role === "user") node.append(make("span", "hidden", words.you));
  const text = make("div", "text plain", content);
  text.dir = "auto";
  const under = make("div", "under");
  node.append(text, under);
  talk.querySelector(".welcome")?.remove();
  talk.append(node);
  const one = { role, content, node, text, under };
  turns.push(one);
  if (role === "user") under.append(button(words.edit, () => edit(one), "quiet"));
  return one;
}

function edit(one) {
  if (running) return;
  const from = turns.indexOf(one);
  for (const gone of turns.splice(from)) gone.node.remove();
  question.value = one.content;
  question.focus();
  keep();
}

async function dressed(one) {
  if (!one.content.trim() || one.content.length > 200_000) return;
  try {
    const answer = await post("markdown", { text: one.content });
    if (!answer.ok) return;
    one.text.innerHTML = ours(await answer.text());
    one.text.classList.remove("plain");
  } catch {
    // it stays plain
  }
}

// <think> … </think> is folded; what comes after it is the answer.
function write(one, piece) {
  one.content += piece;
  if (!one.thought && one.content.trimStart().startsWith("<think>") && !one.done) {
    one.thought = make("details");
    one.thought.append(make("summary", "", words.thinking), make("div", "foreign"));
    one.node.prepend(one.thought);
    one.text.textContent = "";
  }
  if (one.thought && !one.done) {
    const whole = one.content.trimStart().slice("<think>".length);
    const end = whole.indexOf("</think>");
    one.thought.lastChild.textContent = end < 0 ? whole : whole.slice(0, end);
    if (end < 0) return;
    one.done = true;
    one.content = whole.slice(end + "</think>".length).trimStart();
    one.text.textContent = one.content;
  } else if (!one.thought) {
    one.text.append(piece);
  } else {
    one.text.append(piece);
  }
}

// Thoughts that the server tells apart from the answer.
function think(one, piece) {
  if (!one.thought) {
    one.thought = make("details");
    one.thought.append(make("summary", "", words.thinking), make("div", "foreign"));
    one.node.prepend(one.thought);
    one.done = true;
  }
  one.thought.lastChild.append(piece);
}

function calls(one, deltas) {
  one.calls ??= [];
  for (const delta of deltas) {
    const call = (one.calls[delta.index] ??= { name: "", arguments: "", node: null });
    call.name += delta.function?.name ?? "";
    call.arguments += delta.function?.arguments ?? "";
    if (!call.node) one.text.after((call.node = make("pre", "command")));
    call.node.textContent = `${words.calls} ${call.name}(${call.arguments})`;
  }
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data: ") ? line.slice(6) : null;
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function ask() {
  const messages = turns.map(({ role, content }) => ({ role, content }));
  const one = turn("assistant", "");
  one.node.classList.add("waiting");
  running = new AbortController();
  send.hidden = true;
  stop.hidden = false;
  let usage = null, extra = {}, trouble = null;
  const body = { messages, stream: true, stream_options: { include_usage: true } };
  if (plain.checked) body.vortex = { lessons: false, rag: false };
  try {
    const answer = await post("chat", body, running.signal);
    if (answer.status === 401) throw new Error(words.signed_out);
    if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? answer.statusText);
    for await (const chunk of frames(answer.body)) {
      if (chunk.error) throw new Error(chunk.error.message);
      one.id ??= chunk.id;
      const delta = chunk.choices?.[0]?.delta ?? {};
      if (delta.reasoning_content) think(one, delta.reasoning_content);
      if (delta.content) write(one, delta.content);
      if (delta.tool_calls) calls(one, delta.tool_calls);
      if (chunk.vortex || chunk.citations) extra = { ...extra, ...chunk.vortex, citations: chunk.citations ?? extra.citations };
      if (chunk.usage) usage = { ...chunk.usage, timings: chunk.timings };
      follow();
    }
  } catch (error) {
    if (error.name === "AbortError") trouble = words.stopped;
    else trouble = error instanceof TypeError ? words.lost : error.message === words.signed_out ? error.message : `${words.failed} ${error.message}`;
  }
  running = null;
  one.node.classList.remove("waiting");
  send.hidden = false;
  stop.hidden = true;
  one.text.normalize();
  await dressed(one);
  told(one, usage, extra, trouble);
  if (!one.content && trouble) turns.splice(turns.indexOf(one), 1);
  keep();
  news.textContent = trouble ?? words.answer_here;
  follow();
}

function told(one, usage, extra, trouble) {
  const say = (text, className) => one.under.append(Object.assign(make("span", className, text), { dir: "auto" }));
  if (trouble) say(trouble, "minus");
  if (one.id && one.content) judged(one);
  for (const lesson of extra.lessons ?? []) say(`${words.by_lesson}: ${lesson.statement}`, "used");
  if (extra.remembered) say(`${words.by_memory}: ${extra.remembered.text}`, "used");
  for (const cited of extra.citations ?? []) say(`${words.by_documents}: ${cited.source ?? cited.path ?? ""}`, "used");
  if (extra.adapter) say(`${words.by_adapter} ${extra.adapter}`, "used");
  const rate = usage?.timings?.predicted_per_second ?? usage?.timings?.decode_tokens_per_second;
  if (rate) say(`${rate.toFixed(0)} ${words.tokens_s}`);
}

function judged(one) {
  const yes = button(words.good, () => judge(one, "up", null, yes));
  const no = button(words.bad, () => teach(one, no));
  no.setAttribute("aria-expanded", "false");
  one.under.append(yes, no);
}

async function judge(one, rating, ideal, pressed) {
  const body = { request_id: one.id, rating };
  if (ideal) body.ideal_response = ideal;
  let says;
  try {
    const answer = await post("feedback", body);
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error?.message ?? answer.statusText);
    pressed.setAttribute("aria-pressed", "true");
    says = !ideal ? words.thanks : found.held_back ? `${words.held_back} ${found.held_back.join(", ")}` : words.taught_now;
  } catch (error) {
    says = error instanceof TypeError ? words.lost : error.message;
  }
  one.said ??= one.node.appendChild(Object.assign(make("p", "soft"), { role: "status", dir: "auto" }));
  one.said.textContent = says;
}

function teach(one, no) {
  if (one.teaching) return one.teaching.querySelector("textarea").focus();
  const box = (one.teaching = make("form", "teach"));
  const label = make("label", "", words.right_answer_is);
  const text = make("textarea");
  text.rows = 2;
  text.maxLength = 2000;
  text.dir = "auto";
  label.append(text);
  const acts = make("div", "acts");
  const close = () => { box.remove(); one.teaching = null; no.setAttribute("aria-expanded", "false"); no.focus(); };
  acts.append(make("button", "primary", words.teach), button(words.cancel, close, "quiet"));
  box.append(label, acts);
  box.addEventListener("submit", async (event) => {
    event.preventDefault();
    await judge(one, "down", text.value.trim(), no);
    close();
  });
  one.under.after(box);
  no.setAttribute("aria-expanded", "true");
  text.focus();
}

let following = false;
function follow() {
  if (following) return; // once a picture: a layout for every word would be slower than the words
  following = true;
  requestAnimationFrame(() => {
    following = false;
    const room = document.documentElement;
    if (room.scrollHeight - room.scrollTop - room.clientHeight < 300) room.scrollTop = room.scrollHeight;
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text || running) return;
  question.value = "";
  turn("user", text);
  follow();
  ask();
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
stop.addEventListener("click", () => { running?.abort(); question.focus(); });
anew.addEventListener("click", () => {
  running?.abort();
  turns = [];
  talk.replaceChildren();
  sessionStorage.removeItem(KEPT);
  question.focus();
});
try {
  for (const { role, content } of JSON.parse(sessionStorage.getItem(KEPT) ?? "[]")) {
    const one = turn(role, content);
    if (role === "assistant") dressed(one);
  }
} catch {
  sessionStorage.removeItem(KEPT);
}
question.focus();
