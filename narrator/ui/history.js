(() => {
  // What Gradio leaves unnamed in the History tab is named here, whenever the page changes.
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach((element) => {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  });
  const tidy = () => {
    if (!document.querySelector("#history-status")) return;
    set("#history-status", "role", "status");
    set("#history-status", "aria-live", "polite");
    set("#history-status", "aria-atomic", "true");
    set("#history-no", "aria-describedby", "history-question");
    set("#history-sound audio", "aria-label", "Narration of the history");
  };
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; tidy(); });
  };
  const begin = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    tidy();
  };
  const there = (selector) => [...document.querySelectorAll(selector)].find((one) => one.offsetParent !== null);
  let played = "";
  window.past = {
    // Where a button that is gone had the focus, it goes on to the first of these that is there.
    goOn(first = "#history-choice input") {
      setTimeout(() => {
        if (document.activeElement === document.body)
          (there(first) || there("#history-choice input") || there("#history-words :is(input, textarea)"))?.focus();
      }, 200);
    },
    // As soon as it is there; `gently`: unless the person has gone on elsewhere meanwhile.
    focus(selector, gently = false, tries = 20) {
      const place = there(selector);
      const gone = !["", "history-export", "history-cancel"].includes(document.activeElement.id)
        || document.activeElement.matches("input, textarea");
      if (gently && gone) return;
      if (place) place.focus();
      else if (tries > 0) setTimeout(() => window.past.focus(selector, gently, tries - 1), 100);
    },
    play(tries = 40) {
      const audio = document.querySelector("#history-sound audio");
      const source = audio ? audio.currentSrc || audio.src : "";
      if (!source || source === played) {
        if (tries > 0) setTimeout(() => window.past.play(tries - 1), 50);
        return;
      }
      played = source;
      audio.play().catch(() => audio.focus());
    },
  };
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
