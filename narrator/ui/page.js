() => {
  // The Narrate and Models tabs: names, sound, and the text as a file.
  const { all, set, label, status, describe, picture, whenever, player, teller, save } = window.shared;
  whenever(() => {
    status("#status, #models-status");
    set("#models-keep", { "aria-describedby": "models-question" });
    set("#give", { tabindex: "-1" }); // where the skip link leads: its first part is the picture, where one is asked for
    picture("#picture", "#status", "#describe");
    set("#corrections-no", { "aria-describedby": "corrections-question" });
    label("#adapter-files button[aria-dropeffect]", "Drop the files of the adapter here or click to choose them");
    set("#more-pictures .delete-button", { "aria-label": (button) =>
      `Remove picture ${all("#more-pictures .delete-button").indexOf(button) + 1}` });
    set("#more-pictures button[aria-dropeffect]", { "aria-label": // a name has to hold what is to be read on the button
      (button) => `More pictures: ${button.innerText.replace(/\s+/g, " ").trim()}` });
    set("#examples img", { alt: "" }); // the button's own text says it
    set("#sound audio", { "aria-label": "Narration" });
    describe(".knobs div.block");
  });

  let editing = 0;
  document.addEventListener("input", (event) => {
    if (!event.target.closest("#description")) return;
    clearTimeout(editing);
    editing = setTimeout(() => document.querySelector("#edited")?.click(), 150);
  });

  const tell = teller("#status");
  window.narrator = {
    play: player("#sound", () => tell("The sound is ready. Press play.")),
    async copy(text) {
      if (!text) { tell("There is no text to copy yet."); return; }
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const area = document.querySelector("#description textarea");
        area.select();
        document.execCommand("copy");
      }
      tell("Copied.");
    },
    save(text) {
      if (!text) { tell("There is no text to save yet."); return; }
      save(text + "\n", "description.txt", "text/plain");
      tell("Saved as description.txt.");
    },
  };
}
