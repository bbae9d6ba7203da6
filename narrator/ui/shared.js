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
  const heading = '[data-testid="block-info"]';
  const choices = () => { // Gradio leaves a group unnamed, and its radios apart: no arrow key goes through them
    set(`fieldset[id]:has(${heading})`, { "aria-label": (group) => group.querySelector(heading).textContent.trim() });
    set('fieldset[id] input[type="radio"]', { name: (radio) => radio.closest("fieldset").id });
  };
  const tidies = [choices];
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
  // A picture that is pasted or taken is dropped onto the one in sight. Gradio by itself hears no Ctrl+V, takes mirror
  // images with the camera, and says nothing where clipboard or camera cannot be had.
  const [PASTE, TAKE] = ["Paste a picture", "Take a picture with the camera"];
  const CAMERA = {
    NotAllowedError: "The camera may not be used here. Allow it in the browser's settings, then try again.",
    NotFoundError: "There is no camera. Connect one, then try again, or choose a file.",
    NotReadableError: "The camera is in use elsewhere. Close the other program, then try again.",
    none: "The browser gives no camera to this page, for it came over a network without https. Choose a file instead.",
    dark: "The camera shows nothing yet. Wait a moment, then take the picture again.",
  };
  const pictures = {};
  const inSight = () => Object.keys(pictures).find((selector) => document.querySelector(selector)?.offsetParent);
  const drop = (selector, file) => {
    const carried = new DataTransfer();
    carried.items.add(file);
    document.querySelector(`${selector} .upload-container`)?.dispatchEvent(
      new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
    window.shared.goOn(pictures[selector].next);
  };
  const paste = async (selector) => {
    const { tell } = pictures[selector];
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => /^image\/\w+$/.test(one));
        if (!type) continue;
        drop(selector, new File([await item.getType(type)], `pasted.${type.slice(6)}`, { type }));
        return;
      }
      tell("There is no picture on the clipboard. Copy one, then paste it.", "error");
    } catch {
      tell("The browser does not let this page look at the clipboard. Press Ctrl+V (on a Mac ⌘V) instead.", "error");
    }
  };
  const take = (selector) => {
    const video = document.querySelector(`${selector} video`);
    if (!video?.videoWidth) { pictures[selector].tell(CAMERA.dark, "error"); return; }
    const frame = document.createElement("canvas");
    [frame.width, frame.height] = [video.videoWidth, video.videoHeight];
    frame.getContext("2d").drawImage(video, 0, 0); // as the camera sees it: writing stays legible, left stays left
    frame.toBlob((blob) => drop(selector, new File([blob], "camera.jpeg", { type: blob.type })), "image/jpeg", 0.92);
  };
  // Gradio would open a list of choices again when Tab has left it, and leave it open.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && event.target.matches?.('[role="combobox"]')) event.stopImmediatePropagation();
  }, true);
  // The button of a row that had the focus may go when what it acts on changes, much later: its neighbour has it then.
  let row = "";
  document.addEventListener("focusin", (event) => {
    const actions = event.target.closest('[id$="-actions"]');
    row = actions ? `#${actions.id}` : "";
  });
  document.addEventListener("pointerdown", () => { row = ""; });
  const neighbour = () => {
    if (row && document.activeElement === document.body) document.querySelector(`${row} button`)?.focus();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    const selector = button && Object.keys(pictures).find((one) => button.closest(one));
    if (!selector) return;
    const [opening, again] = ['[title="grant webcam access"]', `${selector} button[aria-dropeffect]`];
    const instead = (work) => { event.stopImmediatePropagation(); work(selector); };
    if (button.title === PASTE) instead(paste);
    else if (button.matches(".photo-capture")) instead(take);
    else if (button.title === TAKE && !navigator.mediaDevices) {
      instead(() => pictures[selector].tell(CAMERA.none, "error"));
    } else if (button.title === TAKE) window.shared.goOn(`${selector} ${opening} button`, true);
    else if (button.closest(opening)) window.shared.goOn(`${selector} .photo-capture`, true, "", 100);
    else if (button.getAttribute("aria-label") === "Remove Image") window.shared.goOn(again);
  }, true);
  document.addEventListener("playing", (event) => {
    const selector = Object.keys(pictures).find((one) => event.target.matches(`${one} video`));
    if (selector) pictures[selector].tell("The camera is open. Take the picture.", "ready");
  }, true);
  document.addEventListener("paste", (event) => {
    const [selector, given] = [inSight(), event.clipboardData];
    const file = [...given?.files || []].find((one) => one.type.startsWith("image/"));
    const words = event.target.closest?.("input, textarea") && given?.types.includes("text/plain");
    if (!selector || !file || words) return;
    event.preventDefault();
    drop(selector, file);
  });
  window.addEventListener("unhandledrejection", (event) => { // how Gradio takes it that a camera does not open
    const [selector, says] = [inSight(), CAMERA[event.reason?.name]];
    if (!says || !selector || !document.querySelector(`${selector} [title="grant webcam access"]`)) return;
    event.preventDefault();
    pictures[selector].tell(says, "error");
  });
  window.shared = {
    all, set, label, begun,
    whenever(tidy) { tidies.push(tidy); begun(tidy); },
    status: (selector) => set(selector, { role: "status", "aria-live": "polite", "aria-atomic": "true" }),
    describe: (selector) => all(selector).forEach((block) => { // a field, by the line of help that stands with it
      const [input, says] = [block.querySelector("textarea, input"), block.querySelector(`${heading} + *`)];
      if (!input || !says || says === input || says.contains(input) || input.hasAttribute("aria-describedby")) return;
      says.id = `${block.id}-says`;
      input.setAttribute("aria-describedby", says.id);
    }),
    picture(selector, line, next) { // line: where its tab says how things stand; next: what the person goes on to
      pictures[selector] = { tell: window.shared.teller(line), next };
      label(`${selector} button[aria-dropeffect]`, "Drop a picture here or click to choose one");
      const source = `${selector} [data-testid="source-select"] button`;
      label(`${source}[aria-label="Upload file"]`, "Choose a picture file");
      label(`${source}[aria-label="Capture from camera"]`, TAKE);
      label(`${source}[aria-label="Paste from clipboard"]`, PASTE);
      set(`${selector} .photo-capture`, { "aria-label": "Take the picture now" });
      set(`${selector} video`, { "aria-label": "What the camera sees" });
    },
    teller: (selector) => (text, kind = "done") => {
      const line = document.querySelector(`${selector} .line`);
      if (!line) return;
      line.className = `line ${kind}`;
      line.textContent = kind === "error" ? `Problem: ${text}` : text;
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
  window.shared.whenever(neighbour);
})();
