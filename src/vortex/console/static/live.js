// Keeps marked parts of a page fresh: every element with data-part is asked for anew, and put in where it changed.
// A part in which somebody types or stands is left alone; without this file a page is simply as old as its loading.
"use strict";
const policy = globalThis.trustedTypes ? trustedTypes.createPolicy("vortex", { createHTML: (html) => html }) : null;
globalThis.ours = (html) => (policy ? policy.createHTML(html) : html); // only ever given what our own server escaped

for (const part of document.querySelectorAll("[data-part]")) {
  const every = Number(part.dataset.every) * 1000;
  let shown = null;
  // a list that moves under the pointer would make a click decide about something else
  const busy = () => part.matches(":focus-within") || (part.querySelector("form") && part.matches(":hover"));
  const look = async () => {
    if (!document.hidden && !busy()) {
      try {
        const answer = await fetch(part.dataset.part, { headers: { "x-part": "1" }, redirect: "error" });
        if (answer.ok) {
          const html = await answer.text();
          if (html !== shown && !busy()) {
            if (shown !== null || html.trim() !== part.innerHTML.trim()) part.innerHTML = ours(html);
            shown = html;
          }
        }
      } catch {
        // the server is away: what is shown stays, and it is asked again
      }
    }
    setTimeout(look, every);
  };
  setTimeout(look, every);
}
