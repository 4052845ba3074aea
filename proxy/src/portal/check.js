// The look from the device: asks the box by name, over TLS and through lesson sites, and fills in the findings.
// Nothing is kept, and nothing is sent but these questions.
"use strict";
(() => {
  const LONGEST_MS = 8000; // a look-up that a device tries twice
  const CLOCK_OFF_MS = 10 * 60 * 1000; // certificates of a week bear minutes, not hours
  const list = document.getElementById("findings");
  const isSecure = location.protocol === "https:";

  const ask = async (url) => {
    try {
      const options = { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(LONGEST_MS) };
      const answer = await fetch(url, options);
      const here = await answer.json();
      return here.bulaq === true ? here : null;
    } catch {
      return null;
    }
  };

  // state: good, bad, open, or plain: no, and nothing is wrong with that. words: the key of the sentence.
  const tell = (id, state, words = state, number = "") => {
    const row = document.getElementById(id);
    row.className = state;
    row.querySelector(".mark").textContent = { good: "✔", bad: "✖", open: "?", plain: "–" }[state];
    row.querySelector(".told").textContent = row.dataset[words];
    row.querySelector(".number").textContent = number;
    return `${row.dataset.letter}${{ good: 1, bad: 0, open: "x", plain: 0 }[state]}`;
  };

  // A page over https may not ask http addresses; one at the probe's own name, or the box's, has found the name.
  const findsName = async () => {
    const host = location.hostname;
    if (host === "bulaq.internal" || host === "check.bulaq.internal") return tell("name", "good");
    const found = !isSecure && (await ask("http://check.bulaq.internal/here.json"));
    return tell("name", found ? "good" : isSecure ? "open" : "bad");
  };
  const trusts = async (name) => {
    if (await ask("https://check.bulaq.internal/here.json")) return tell("trust", "good");
    return name === "N1" ? tell("trust", "plain", "bad") : tell("trust", "open");
  };
  const clock = (before, here) => {
    if (!here) return tell("clock", "open");
    const off = (before + Date.now()) / 2 - here.now;
    const minutes = Math.round(Math.abs(off) / 60000);
    return Math.abs(off) < CLOCK_OFF_MS ? tell("clock", "good") : tell("clock", "bad", "bad", `${minutes}`);
  };
  const way = (here) =>
    here ? tell("way", "good", here.way === "proxy" ? "proxied" : "direct") + (here.way === "proxy" ? "p" : "d") : tell("way", "open");
  const lessons = async () => {
    const hosts = list.dataset.hosts.split(" ").filter((host) => host !== "");
    if (isSecure || hosts.length === 0) return tell("lessons", "open");
    const here = await Promise.all(hosts.map((host) => ask(`http://${host}/.well-known/bulaq`)));
    const count = here.filter((answer) => answer !== null).length;
    const told = `${count}/${hosts.length}`;
    // What passes through over https cannot answer as the box, so some without an answer need not be wrong.
    const [state, words] = count === hosts.length ? ["good", "good"] : count === 0 ? ["open", "open"] : ["plain", "bad"];
    return tell("lessons", state, words, told) + `:${told}`;
  };

  const look = async () => {
    const before = Date.now();
    const here = await ask("/here.json");
    const first = [clock(before, here), way(here)];
    const name = await findsName();
    const code = [name, await trusts(name), await lessons(), ...first];
    document.getElementById("code").textContent = code.join(" ");
    list.removeAttribute("aria-busy");
  };
  look();
})();
