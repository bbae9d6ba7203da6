(() => {
  // What Gradio leaves unnamed in the Train tab is named here, whenever the page changes.
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach((element) => {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  });
  const describe = (block) => {
    const [input, says] = [block.querySelector("textarea, input"), block.querySelector('[data-testid="block-info"] + *')];
    if (!input || !says || says === input || says.contains(input) || input.hasAttribute("aria-describedby")) return;
    says.id = `${block.id}-says`;
    input.setAttribute("aria-describedby", says.id);
  };
  const tidy = () => {
    const line = document.querySelector("#train-status");
    if (!line) return;
    set("#train-status", "role", "status");
    set("#train-status", "aria-live", "polite");
    set("#train-status", "aria-atomic", "true");
    set("#train-keep", "aria-describedby", "train-question");
    set("#train-uploads-keep", "aria-describedby", "train-uploads-question");
    set("#train-runs", "tabindex", "-1");
    set("#train-upload button[aria-dropeffect]", "aria-label", "Drop pictures with texts here or click to choose them");
    set("#train-sound audio", "aria-label", "Speech");
    document.querySelectorAll('#train-new div.block[id^="train-"]').forEach(describe);
    document.querySelectorAll('#train-samples button[id^="train-speak-"]').forEach((button) => {
      const place = button.id.replace("train-speak-", "");
      if (button.getAttribute("aria-label") !== `Speak the words about picture ${place}`)
        button.setAttribute("aria-label", `Speak the words about picture ${place}`);
    });
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
    if (window.training.asked()) reopen();
  };
  // A page that watched a run when it was loaded anew watches it again. Gradio takes no click before it is ready, and
  // may choose its own first tab after one: asked again until the tab has stayed, or the person does something.
  const reopen = () => {
    let [left, stayed] = [200, 0];
    const leave = () => { left = 0; };
    ["pointerdown", "keydown"].forEach((kind) => document.addEventListener(kind, leave, { once: true, capture: true }));
    const again = () => {
      if (left <= 0 || stayed > 10) return;
      const tab = [...document.querySelectorAll('[role="tab"]')].find((one) => one.textContent.trim() === "Train");
      if (tab) left -= 1; // a slow machine draws it late
      const line = document.querySelector("#train-status");
      stayed = line && line.offsetParent !== null ? stayed + 1 : 0;
      if (tab && !stayed && left % 4 === 0) tab.click();
      setTimeout(again, 100);
    };
    again();
  };
  const tell = (text) => {
    const line = document.querySelector("#train-status .line");
    if (!line) return;
    line.className = "line done";
    line.textContent = text;
  };
  let played = "";
  window.training = {
    asked: () => new URLSearchParams(location.search).get("run") || "",
    keep(run) {
      const address = new URL(location.href);
      if (run) address.searchParams.set("run", run); else address.searchParams.delete("run");
      history.replaceState(history.state, "", address);
    },
    goOn(selector, always = false, tries = 40) { // what is to be focused may take a moment to appear
      setTimeout(() => {
        if (!always && document.activeElement !== document.body) return;
        const place = document.querySelector(selector);
        if (place) place.focus();
        if (document.activeElement !== place && tries > 0) window.training.goOn(selector, always, tries - 1);
      }, 100);
    },
    show(selector) {
      const place = document.querySelector(selector);
      if (place && place.getBoundingClientRect().top > innerHeight * 0.8) place.scrollIntoView({ block: "start" });
    },
    play(tries = 40) {
      const audio = document.querySelector("#train-sound audio");
      const source = audio ? audio.currentSrc || audio.src : "";
      if (!source || source === played) {
        if (tries > 0) setTimeout(() => window.training.play(tries - 1), 50);
        return;
      }
      played = source;
      audio.play().catch(() => tell("The sound is ready. Press play."));
    },
    save(text, name) {
      if (!text) { tell("There are no settings to save yet."); return; }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml;charset=utf-8" }));
      link.download = `${(name || "settings").replace(/[^a-z0-9-]/g, "") || "settings"}.yaml`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      tell(`Saved as ${link.download}.`);
    },
  };
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
