(() => {
  // The History tab: names, and where the focus goes.
  const { all, set, status, whenever, player } = window.shared;
  whenever(() => {
    if (!document.querySelector("#history-status")) return;
    status("#history-status");
    set("#history-no", { "aria-describedby": "history-question" });
    set("#history-sound audio", { "aria-label": "Narration of the history" });
  });
  const there = (selector) => all(selector).find((one) => one.offsetParent !== null);
  window.past = {
    play: player("#history-sound", (audio) => audio.focus()),
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
  };
})();
