(() => {
  // The Train tab: names, a run that is watched again, and settings as a file.
  const { set, status, describe, whenever, begun, player, teller, goOn, show, save, address, keep, reopen } = window.shared;
  whenever(() => {
    if (!document.querySelector("#train-status")) return;
    status("#train-status");
    set("#train-keep", { "aria-describedby": "train-question" });
    set("#train-uploads-keep", { "aria-describedby": "train-uploads-question" });
    set("#train-runs", { tabindex: "-1" });
    set("#train-upload button[aria-dropeffect]", { "aria-label": "Drop pictures with texts here or click to choose them" });
    set("#train-sound audio", { "aria-label": "Speech" });
    set('#train-samples button[id^="train-speak-"]',
      { "aria-label": (button) => `Speak the words about picture ${button.id.replace("train-speak-", "")}` });
    describe('#train-new div.block[id^="train-"]');
  });
  begun(() => { // a page that watched a run when it was loaded anew watches it again
    if (address("run")) reopen("Train", "#train-status");
  });
  // Whether a person has pressed something since the tab was opened: it is answered before the opened tab knows how the
  // newest run stands.
  let pressed = false;
  const heed = (event) => {
    if (event.target.closest?.("[role=tab]")) pressed = false;
    else if (event.isTrusted && event.target.closest?.("#train-stage-row :is(button:not(.label-wrap), input)")) pressed = true;
  };
  for (const kind of ["click", "change"]) document.addEventListener(kind, heed, true);
  document.addEventListener("keydown", (event) => { if (event.target.closest?.("[role=tab]")) pressed = false; }, true);
  let looker = "#train-check"; // whose look goes on: where the focus goes once it is stopped
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#train-check, #train-start, #train-anyway");
    if (button) looker = button.id === "train-check" ? "#train-check" : "#train-start";
  }, true);
  const tell = teller("#train-status");
  window.training = {
    goOn, show,
    asked: () => address("run"),
    opening: (words, line) => (words && !pressed ? words : line), // the answer to a press stays in sight
    keep: (run) => keep("run", run),
    // On to a button that comes, or is there, where those that go had the focus; not where the person has gone on.
    turn(to, from, tries = 100) {
      setTimeout(() => {
        const [place, at] = [document.querySelector(to), document.activeElement];
        if (at !== document.body && !at.closest(from)) return;
        if (place) place.focus();
        else if (tries > 0) window.training.turn(to, from, tries - 1);
      }, 100);
    },
    back() { window.training.turn(looker, "#train-leave"); }, // an ended start turns there, too, sooner or later
    look() { // in a window behind others it costs the training nothing
      if (!document.hidden) document.querySelector("#train-look")?.click();
    },
    follow() { // only what is in sight; the server is not asked otherwise
      if (document.querySelector("#train-text .label-wrap.open")) document.querySelector("#train-follow")?.click();
    },
    play: player("#train-sound", () => tell("The sound is ready. Press play.")),
    save(text, name) {
      if (!text) { tell("There are no settings to save yet."); return; }
      const file = `${(name || "settings").replace(/[^a-z0-9-]/g, "") || "settings"}.yaml`;
      save(text, file, "application/yaml");
      tell(`Saved as ${file}.`);
    },
  };
})();
