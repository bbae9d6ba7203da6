(() => {
  // What the scripts of the tabs share. Each names what Gradio leaves unnamed or unannounced, whenever the page changes.
  const all = (selector) => [...document.querySelectorAll(selector)];
  const set = (selector, attributes) => all(selector).forEach((element) => {
    for (const [name, value] of Object.entries(attributes)) {
      const wanted = typeof value === "function" ? value(element) : value;
      if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
    }
  });
  const label = (selector, text) => set(selector, { "aria-label": text, title: text });
  const tidies = [];
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; tidies.forEach((tidy) => tidy()); });
  };
  const begin = () => new MutationObserver(later).observe(document.body,
    { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
  const begun = (work) => {
    if (document.body) work(); else document.addEventListener("DOMContentLoaded", work);
  };
  begun(begin);
  window.shared = {
    all, set, label, begun,
    whenever(tidy) { tidies.push(tidy); begun(tidy); },
    status: (selector) => set(selector, { role: "status", "aria-live": "polite", "aria-atomic": "true" }),
    describe: (selector) => all(selector).forEach((block) => { // a field, by the line of help that stands with it
      const [input, says] = [block.querySelector("textarea, input"), block.querySelector('[data-testid="block-info"] + *')];
      if (!input || !says || says === input || says.contains(input) || input.hasAttribute("aria-describedby")) return;
      says.id = `${block.id}-says`;
      input.setAttribute("aria-describedby", says.id);
    }),
    picture(selector) {
      label(`${selector} button[aria-dropeffect]`, "Drop a picture here or click to choose one");
      const source = `${selector} [data-testid="source-select"] button`;
      label(`${source}[aria-label="Upload file"]`, "Choose a picture file");
      label(`${source}[aria-label="Capture from camera"]`, "Take a picture with the camera");
      label(`${source}[aria-label="Paste from clipboard"]`, "Paste a picture");
    },
    teller: (selector) => (text) => {
      const line = document.querySelector(`${selector} .line`);
      if (!line) return;
      line.className = "line done";
      line.textContent = text;
    },
    player(selector, blocked = () => {}) { // plays the sound as soon as a new one is there
      let played = "";
      const play = (tries = 40) => {
        const audio = document.querySelector(`${selector} audio`);
        const source = audio ? audio.currentSrc || audio.src : "";
        if (!source || source === played) {
          if (tries > 0) setTimeout(() => play(tries - 1), 50);
          return;
        }
        played = source;
        audio.play().catch(() => blocked(audio));
      };
      return () => play();
    },
    goOn(selector, always = false, otherwise = "", tries = 40) { // what is to be focused may take a moment to appear
      setTimeout(() => {
        if (!always && document.activeElement !== document.body) return;
        const place = document.querySelector(selector);
        if (place) place.focus();
        if (document.activeElement === place) return;
        if (tries > 0) window.shared.goOn(selector, always, otherwise, tries - 1);
        else if (otherwise) document.querySelector(otherwise)?.focus();
      }, 100);
    },
    show(selector) {
      const place = document.querySelector(selector);
      if (place && place.getBoundingClientRect().top > innerHeight * 0.8) place.scrollIntoView({ block: "start" });
    },
    save(text, name, type) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    },
    address: (name) => new URLSearchParams(location.search).get(name) || "",
    keep(name, value, others = []) { // in the address, for a page that is loaded anew
      const here = new URL(location.href);
      if (value) { here.searchParams.set(name, value); others.forEach((other) => here.searchParams.delete(other)); }
      else here.searchParams.delete(name);
      history.replaceState(history.state, "", here);
    },
    // Gradio takes no click before it is ready, and may choose its own first tab after one: asked again until the tab
    // has stayed, or the person does something.
    reopen(title, line) {
      let [left, stayed] = [200, 0];
      const leave = () => { left = 0; };
      ["pointerdown", "keydown"].forEach((kind) => document.addEventListener(kind, leave, { once: true, capture: true }));
      const again = () => {
        if (left <= 0 || stayed > 10) return;
        const tab = all('[role="tab"]').find((one) => one.textContent.trim() === title);
        if (tab) left -= 1; // a slow machine draws it late
        const place = document.querySelector(line);
        stayed = place && place.offsetParent !== null ? stayed + 1 : 0;
        if (tab && !stayed && left % 4 === 0) tab.click();
        setTimeout(again, 100);
      };
      again();
    },
  };
})();
