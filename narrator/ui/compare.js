(() => {
  // What Gradio leaves unnamed in the Compare tab is named here, whenever the page changes.
  const set = (selector, attributes) => document.querySelectorAll(selector).forEach((element) => {
    for (const [name, value] of Object.entries(attributes))
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  });
  const label = (selector, text) => set(selector, { "aria-label": text, title: text });
  const tidy = () => {
    if (!document.querySelector("#compare-status")) return;
    set("#compare-status", { role: "status", "aria-live": "polite", "aria-atomic": "true" });
    set("#compare-results", { role: "region", "aria-label": "Descriptions", tabindex: "-1" });
    set("#compare-vote", { role: "group", "aria-labelledby": "compare-vote-title", tabindex: "-1" });
    set("#compare-examples img", { alt: "" }); // the button's own text says it
    set("#compare-sound audio", { "aria-label": "Spoken description" });
    set("#compare-file button[aria-dropeffect]",
      { "aria-label": "Drop a saved comparison here or click to choose it" });
    label("#compare-picture button[aria-dropeffect]", "Drop a picture here or click to choose one");
    const sources = '#compare-picture [data-testid="source-select"] button';
    label(`${sources}[aria-label="Upload file"]`, "Choose a picture file");
    label(`${sources}[aria-label="Capture from camera"]`, "Take a picture with the camera");
    label(`${sources}[aria-label="Paste from clipboard"]`, "Paste a picture");
    document.querySelectorAll("#compare-prompt, #compare-references, #compare-pictured").forEach((block) => {
      const [input, says] = [block.querySelector("textarea, input"), block.querySelector('[data-testid="block-info"] + *')];
      if (!input || !says || says === input || says.contains(input) || input.hasAttribute("aria-describedby")) return;
      says.id = `${block.id}-says`;
      input.setAttribute("aria-describedby", says.id);
    });
  };
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; tidy(); });
  };
  const tell = (text) => {
    const line = document.querySelector("#compare-status .line");
    if (!line) return;
    line.className = "line done";
    line.textContent = text;
  };
  // A single key counts only while the focus is on a description or on the vote, so that it takes no key from anyone.
  const KEYS = { 1: "#compare-best-1", 2: "#compare-best-2", 3: "#compare-best-3", 4: "#compare-best-4",
    t: "#compare-tie", b: "#compare-bad" };
  const vote = (event) => {
    const [button, at] = [KEYS[event.key.toLowerCase()], event.target];
    if (!button || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (!at.closest || !at.closest("#compare-vote, #compare-results") || at.matches("input, textarea, select")) return;
    const found = document.querySelector(button);
    if (found) { event.preventDefault(); found.click(); }
  };
  const begin = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("keydown", vote);
    window.addEventListener("hashchange", () => { if (window.comparing.arrived()) location.reload(); });
    tidy();
  };
  let played = "";
  window.comparing = {
    ready(tries = 20) { // on to the vote, unless the person has gone on elsewhere
      const place = document.querySelector("#compare-vote");
      const idle = document.activeElement === document.body || document.activeElement.closest("#compare-doing");
      if (place && idle) { tidy(); place.focus(); }
      else if (tries > 0 && idle) setTimeout(() => window.comparing.ready(tries - 1), 50);
    },
    go(selector, tries = 20) { // the button that was pressed goes: whoever works by keyboard goes on from here
      const lost = document.activeElement === document.body || document.activeElement.closest("#compare-vote");
      if (document.activeElement === document.body) document.querySelector(selector)?.focus();
      else if (tries > 0 && lost) setTimeout(() => window.comparing.go(selector, tries - 1), 50);
    },
    play(tries = 40) {
      const audio = document.querySelector("#compare-sound audio");
      const source = audio ? audio.currentSrc || audio.src : "";
      if (!source || source === played) {
        if (tries > 0) setTimeout(() => window.comparing.play(tries - 1), 50);
        return;
      }
      played = source;
      audio.play().catch(() => tell("The sound is ready. Press play."));
    },
    arrived: () => (location.hash.startsWith("#compare=") ? location.hash.slice("#compare=".length) : ""),
    link(payload) {
      if (!payload) return "";
      const address = `${location.origin}${location.pathname}#compare=${payload}`;
      navigator.clipboard.writeText(address).then(() => tell("The link is copied. It holds the texts itself; nothing is kept here."),
        () => tell("The link is ready: copy it from the field below."));
      return address;
    },
  };
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
