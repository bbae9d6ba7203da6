(() => {
  // The Evaluate tab: names, an evaluation that is watched again, and where the focus goes.
  const { all, set, status, describe, whenever, begun, goOn, show, address, keep, reopen } = window.shared;
  whenever(() => {
    if (!document.querySelector("#evaluate-status")) return;
    status("#evaluate-status");
    set("#evaluate-keep", { "aria-describedby": "evaluate-question" });
    set("#evaluate-runs", { tabindex: "-1" });
    set("#evaluate-upload button[aria-dropeffect]", { "aria-label": "Drop pictures with texts here or click to choose them" });
    describe("#evaluate-limit, #evaluate-set, #evaluate-rows");
  });
  begun(() => { // a page that watched an evaluation when it was loaded anew watches it again
    if (address("evaluation") && !address("run")) reopen("Evaluate", "#evaluate-status");
  });
  let had = 0; // examples before more of them were asked for
  const cards = () => all("#evaluate-examples .cases > li");
  document.addEventListener("click", (event) => { if (event.target.closest("#evaluate-more")) had = cards().length; }, true);
  window.evaluating = {
    goOn, show,
    asked: () => address("evaluation"),
    keep: (run) => keep("evaluation", run, ["run"]),
    example(tries = 40) { // on to the first one that is new; the button may be gone
      const first = cards()[had];
      if (!first) { if (tries > 0) setTimeout(() => window.evaluating.example(tries - 1), 50); return; }
      first.tabIndex = -1;
      first.focus();
    },
  };
})();
