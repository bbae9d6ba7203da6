(() => {
  // What Gradio leaves unnamed in the Evaluate tab is named here, whenever the page changes.
  const set = (selector, attribute, value) => document.querySelectorAll(selector).forEach((element) => {
    if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
  });
  const describe = (block) => {
    const [input, says] = [block.querySelector("input"), block.querySelector('[data-testid="block-info"] + *')];
    if (!input || !says || says === input || says.contains(input) || input.hasAttribute("aria-describedby")) return;
    says.id = `${block.id}-says`;
    input.setAttribute("aria-describedby", says.id);
  };
  const tidy = () => {
    if (!document.querySelector("#evaluate-status")) return;
    set("#evaluate-status", "role", "status");
    set("#evaluate-status", "aria-live", "polite");
    set("#evaluate-status", "aria-atomic", "true");
    set("#evaluate-keep", "aria-describedby", "evaluate-question");
    set("#evaluate-runs", "tabindex", "-1");
    set("#evaluate-upload button[aria-dropeffect]", "aria-label", "Drop pictures with texts here or click to choose them");
    document.querySelectorAll("#evaluate-limit, #evaluate-set, #evaluate-rows").forEach(describe);
  };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; tidy(); });
  };
  const address = () => new URLSearchParams(location.search);
  // A page that watched an evaluation when it was loaded anew watches it again. Gradio takes no click before it is
  // ready: asked again until the tab has stayed, or the person does something.
  const reopen = () => {
    let [left, stayed] = [600, 0];
    ["pointerdown", "keydown"].forEach((kind) => document.addEventListener(kind, () => { left = 0; }, { once: true, capture: true }));
    const again = () => {
      if (left <= 0 || stayed > 10) return;
      left -= 1;
      const tab = [...document.querySelectorAll('[role="tab"]')].find((one) => one.textContent.trim() === "Evaluate");
      const line = document.querySelector("#evaluate-status");
      stayed = line && line.offsetParent !== null ? stayed + 1 : 0;
      if (tab && !stayed && left % 4 === 0) tab.click();
      setTimeout(again, 100);
    };
    again();
  };
  const begin = () => {
    new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
    tidy();
    if (address().get("evaluation") && !address().get("run")) reopen();
  };
  let had = 0; // examples before more of them were asked for
  const cards = () => document.querySelectorAll("#evaluate-examples .cases > li");
  document.addEventListener("click", (event) => { if (event.target.closest("#evaluate-more")) had = cards().length; }, true);
  window.evaluating = {
    asked: () => address().get("evaluation") || "",
    keep(run) {
      const here = new URL(location.href);
      if (run) { here.searchParams.set("evaluation", run); here.searchParams.delete("run"); }
      else here.searchParams.delete("evaluation");
      history.replaceState(history.state, "", here);
    },
    goOn(selector, always = false, tries = 40) { // what is to be focused may take a moment to appear
      setTimeout(() => {
        if (!always && document.activeElement !== document.body) return;
        const place = document.querySelector(selector);
        if (place) place.focus();
        if (document.activeElement !== place && tries > 0) window.evaluating.goOn(selector, always, tries - 1);
      }, 100);
    },
    show(selector) {
      const place = document.querySelector(selector);
      if (place && place.getBoundingClientRect().top > innerHeight * 0.8) place.scrollIntoView({ block: "start" });
    },
    example(tries = 40) { // on to the first one that is new; the button may be gone
      const first = cards()[had];
      if (!first) { if (tries > 0) setTimeout(() => window.evaluating.example(tries - 1), 50); return; }
      first.tabIndex = -1;
      first.focus();
    },
  };
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
