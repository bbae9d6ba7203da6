(() => {
  // What Gradio leaves unnamed in the Batch tab is named here; the buttons of a row lead to the unseen ones of the page.
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach((element) => {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  });
  const name = (button) => `.${button.className}[data-position="${button.dataset.position}"]`;
  let held = null; // the row's button that has the focus: the table may be drawn anew under it
  const tidy = () => {
    if (!document.querySelector("#batch-status")) return;
    set("#batch-status", "role", "status");
    set("#batch-status", "aria-live", "polite");
    set("#batch-status", "aria-atomic", "true");
    set("#batch-keep", "aria-describedby", "batch-question");
    set("#batch-watch", "tabindex", "-1");
    set("#batch-files button[aria-dropeffect]", "aria-label", "Drop pictures or zips here or click to choose them");
    set("#batch-sound audio", "aria-label", "Spoken description");
    if (held && !held.isConnected && document.activeElement === document.body)
      document.querySelector(name(held))?.focus({ preventScroll: true });
  };
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; tidy(); });
  };
  const begin = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    document.addEventListener("click", (event) => {
      const button = event.target.closest(".batch-edit, .batch-play");
      if (!button) return;
      window.batch.position = Number(button.dataset.position);
      window.batch.from = name(button);
      document.querySelector(button.matches(".batch-edit") ? "#batch-edit-row" : "#batch-play-row")?.click();
    });
    document.addEventListener("focusin", (event) => { held = event.target.closest(".batch-edit, .batch-play"); });
    document.addEventListener("focusout", (event) => setTimeout(() => {
      if (held === event.target && held.isConnected) held = null; // left, not drawn anew
    }));
    tidy();
  };
  let played = "";
  window.batch = {
    position: null,
    from: "",
    goOn(selector, always = false, tries = 40) { // what is to be focused may take a moment to appear
      setTimeout(() => {
        if (!always && document.activeElement !== document.body) return;
        const place = document.querySelector(selector);
        if (place) place.focus();
        if (document.activeElement === place) return;
        if (tries > 0) window.batch.goOn(selector, always, tries - 1);
        else document.querySelector("#batch-watch")?.focus();
      }, 100);
    },
    back(tries = 20) { // to the row that was worked on, once the editor or the button has gone from under the focus
      setTimeout(() => {
        if (document.activeElement !== document.body) {
          if (tries > 0 && document.activeElement.closest("#batch-editor, #batch-undo")) window.batch.back(tries - 1);
          return;
        }
        const row = window.batch.from && document.querySelector(window.batch.from);
        const place = row || document.querySelector("#batch-choice input");
        if (place) place.focus();
      }, 100);
    },
    show(selector) {
      const place = document.querySelector(selector);
      if (place && place.getBoundingClientRect().top > innerHeight * 0.8) place.scrollIntoView({ block: "start" });
    },
    play(tries = 40) {
      const audio = document.querySelector("#batch-sound audio");
      const source = audio ? audio.currentSrc || audio.src : "";
      if (!source || source === played) {
        if (tries > 0) setTimeout(() => window.batch.play(tries - 1), 50);
        return;
      }
      played = source;
      audio.play().catch(() => {});
    },
  };
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
