"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- theme ----------------------------------------------------------------------------------------------------

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const sayTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; };
  $("theme").hidden = false;
  $("theme").title = "Switch between light and dark";
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    sayTheme();
  });
  dark.addEventListener("change", sayTheme);
  sayTheme();

  // -- words of an answer ---------------------------------------------------------------------------------------

  /** Return [first piece, piece after the last, value] of each span of a button. */
  const spansOf = (button) => button.dataset.spans.split(" ").filter(Boolean).map((span) => {
    const [range, value] = span.split(":");
    return [...range.split("-").map(Number), Number(value)];
  });

  /** Mark the words of a button, or of none. */
  function mark(section, button) {
    const words = all(".w", section);
    for (const word of words) {
      word.classList.remove("for", "against");
      word.style.removeProperty("--strength");
    }
    for (const other of all(".code", section)) other.classList.toggle("shown", other === button);
    if (!button) return;
    const spans = spansOf(button);
    const most = Math.max(...spans.map(([, , value]) => Math.abs(value)));
    for (const [first, end, value] of spans) {
      for (const word of words) {
        const at = Number(word.dataset.w);
        if (at < first || at >= end) continue;
        word.classList.add(value > 0 ? "for" : "against");
        word.style.setProperty("--strength", (Math.abs(value) / most).toFixed(2));
      }
    }
  }

  const kept = (section) => section.querySelector('.code[aria-pressed="true"]');

  function keep(section, button) {
    const before = kept(section);
    if (before) before.setAttribute("aria-pressed", "false");
    const now = button && button !== before ? button : null;
    if (now) now.setAttribute("aria-pressed", "true");
    mark(section, now);
    const word = now && section.querySelector(".w.for, .w.against");
    if (word) word.scrollIntoView({ block: "nearest" });
  }

  for (const section of all(".document")) {
    const buttons = all(".code", section);
    for (const button of buttons) {
      for (const [first, end, value] of spansOf(button)) {
        if (value <= 0 || button.matches(".rather, details *")) continue;
        for (const word of all(".w", section)) {
          const at = Number(word.dataset.w);
          if (at >= first && at < end) word.classList.add("known");
        }
      }
      button.addEventListener("mouseenter", () => mark(section, button));
      button.addEventListener("mouseleave", () => mark(section, kept(section)));
      button.addEventListener("focus", () => mark(section, button));
      button.addEventListener("blur", () => mark(section, kept(section)));
      button.addEventListener("click", () => keep(section, button));
    }
    section.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return keep(section, null);
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const visible = buttons.filter((button) => button.offsetParent);
      const at = visible.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      visible[Math.min(Math.max(at + step, 0), visible.length - 1)].focus();
    });
    // A click on a word keeps the answer that it speaks for most.
    section.querySelector(".text").addEventListener("click", ({ target }) => {
      const at = Number(target.dataset.w ?? NaN);
      let best = null, most = 0;
      for (const button of buttons.filter((b) => !b.classList.contains("rather") && b.offsetParent)) {
        for (const [first, end, value] of spansOf(button)) {
          if (at >= first && at < end && value > most) [best, most] = [button, value];
        }
      }
      if (best && best !== kept(section)) keep(section, best);
    });
  }

  // -- finding --------------------------------------------------------------------------------------------------

  const sections = all(".document").map((section) => [section, section.textContent.toLowerCase()]);
  function find() {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [section, text] of sections) {
      section.hidden = !words.every((word) => text.includes(word));
      shown += !section.hidden;
    }
    $("found").textContent = words.length ? `${shown.toLocaleString("en")} of ${sections.length.toLocaleString("en")}` : "";
  }
  $("find").addEventListener("input", find);

  document.documentElement.dataset.ready = performance.now().toFixed(0);
})();
