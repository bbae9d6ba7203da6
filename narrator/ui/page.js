() => {
  // What Gradio leaves unnamed or unannounced is named here, whenever the page changes.
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach((element) => {
    const wanted = typeof value === "function" ? value(element) : value;
    if (element.getAttribute(attribute) !== wanted) element.setAttribute(attribute, wanted);
  });
  const label = (selector, text) => { set(selector, "aria-label", text); set(selector, "title", text); };
  const tidy = () => {
    set("#status, #models-status", "role", "status");
    set("#status, #models-status", "aria-live", "polite");
    set("#status, #models-status", "aria-atomic", "true");
    set("#models-keep", "aria-describedby", "models-question");
    set("#give", "tabindex", "-1"); // where the skip link leads: its first part is the picture, where one is asked for
    label('#picture button[aria-dropeffect]', "Drop a picture here or click to choose one");
    label('#picture [data-testid="source-select"] button[aria-label="Upload file"]', "Choose a picture file");
    label('#picture [data-testid="source-select"] button[aria-label="Capture from camera"]', "Take a picture with the camera");
    label('#picture [data-testid="source-select"] button[aria-label="Paste from clipboard"]', "Paste a picture");
    set("#corrections-no", "aria-describedby", "corrections-question");
    label('#adapter-files button[aria-dropeffect]', "Drop the files of the adapter here or click to choose them");
    set("#more-pictures .delete-button", "aria-label", (button) =>
      `Remove picture ${[...document.querySelectorAll("#more-pictures .delete-button")].indexOf(button) + 1}`);
    set("#more-pictures button[aria-dropeffect]", "aria-label", // a name has to hold what is to be read on the button
      (button) => `More pictures: ${button.innerText.replace(/\s+/g, " ").trim()}`);
    set("#examples img", "alt", ""); // the button's own text says it
    set("#sound audio", "aria-label", "Narration");
    document.querySelectorAll(".knobs div.block").forEach((block) => {
      const [input, says] = [block.querySelector("input"), block.querySelector('[data-testid="block-info"] + *')];
      if (!input || !says || says === input || says.contains(input)) return;
      says.id = `${block.id}-says`;
      if (!input.hasAttribute("aria-describedby")) input.setAttribute("aria-describedby", says.id);
    });
  };
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; tidy(); });
  };
  tidy();
  new MutationObserver(later).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });

  let editing = 0;
  document.addEventListener("input", (event) => {
    if (!event.target.closest("#description")) return;
    clearTimeout(editing);
    editing = setTimeout(() => document.querySelector("#edited")?.click(), 150);
  });

  const tell = (text) => {
    const line = document.querySelector("#status .line");
    if (!line) return;
    line.className = "line done";
    line.textContent = text;
  };
  let played = "";
  window.narrator = {
    play(tries = 40) {
      const audio = document.querySelector("#sound audio");
      const source = audio ? audio.currentSrc || audio.src : "";
      if (!source || source === played) {
        if (tries > 0) setTimeout(() => window.narrator.play(tries - 1), 50);
        return;
      }
      played = source;
      audio.play().catch(() => tell("The sound is ready. Press play."));
    },
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
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text + "\n"], { type: "text/plain;charset=utf-8" }));
      link.download = "description.txt";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      tell("Saved as description.txt.");
    },
  };
}
