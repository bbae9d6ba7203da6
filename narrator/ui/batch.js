(() => {
  // The Batch tab: names, and the buttons of a row, which lead to the unseen ones of the page.
  const { set, status, whenever, begun, player, goOn, show } = window.shared;
  const name = (button) => `.${button.className}[data-position="${button.dataset.position}"]`;
  let held = null; // the row's button that has the focus: the table may be drawn anew under it
  whenever(() => {
    if (!document.querySelector("#batch-status")) return;
    status("#batch-status");
    set("#batch-keep", { "aria-describedby": "batch-question" });
    set("#batch-watch", { tabindex: "-1" });
    set("#batch-files button[aria-dropeffect]", { "aria-label": "Drop pictures or zips here or click to choose them" });
    set("#batch-better button[aria-dropeffect]", { "aria-label": "Drop better files here or click to choose them" });
    set("#batch-sound audio", { "aria-label": "Spoken description" });
    if (held && !held.isConnected && document.activeElement === document.body)
      document.querySelector(name(held))?.focus({ preventScroll: true });
  });
  begun(() => {
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
  });
  window.batch = {
    position: null,
    from: "",
    show,
    play: player("#batch-sound"),
    goOn: (selector, always = false) => goOn(selector, always, "#batch-watch"),
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
  };
})();
