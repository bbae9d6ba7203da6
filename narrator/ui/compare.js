(() => {
  // The Compare tab: names, keys to vote by, sound, and the link that holds a comparison.
  const { set, status, describe, picture, whenever, begun, player, teller } = window.shared;
  const tidy = () => {
    if (!document.querySelector("#compare-status")) return;
    status("#compare-status");
    set("#compare-results", { role: "region", "aria-label": "Descriptions", tabindex: "-1" });
    set("#compare-vote", { role: "group", "aria-labelledby": "compare-vote-title", tabindex: "-1" });
    set("#compare-examples img", { alt: "" }); // the button's own text says it
    set("#compare-sound audio", { "aria-label": "Spoken description" });
    set("#compare-file button[aria-dropeffect]",
      { "aria-label": "Drop a saved comparison here or click to choose it" });
    picture("#compare-picture", "#compare-status", "#compare-run");
    describe("#compare-prompt, #compare-references, #compare-pictured");
  };
  whenever(tidy);
  const tell = teller("#compare-status");
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
  begun(() => {
    document.addEventListener("keydown", vote);
    window.addEventListener("hashchange", () => { if (window.comparing.arrived()) location.reload(); });
  });
  window.comparing = {
    play: player("#compare-sound", () => tell("The sound is ready. Press play.")),
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
    arrived: () => (location.hash.startsWith("#compare=") ? location.hash.slice("#compare=".length) : ""),
    link(payload) {
      if (!payload) return "";
      const address = `${location.origin}${location.pathname}#compare=${payload}`;
      navigator.clipboard.writeText(address).then(() => tell("The link is copied. It holds the texts itself; nothing is kept here."),
        () => tell("The link is ready: copy it from the field below."));
      return address;
    },
  };
})();
