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
  const tell = teller("#train-status");
  window.training = {
    goOn, show,
    asked: () => address("run"),
    keep: (run) => keep("run", run),
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
