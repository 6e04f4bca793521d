// Reloads the page now and then while its search goes on, and brings back what a person had opened. It waits while
// somebody is at work on the page, and stops when it is told to.
(() => {
  const bar = document.getElementById("live");
  const words = document.getElementById("live-words");
  const button = document.getElementById("live-button");
  const seconds = Number(bar.dataset.seconds);
  const key = `harness live ${location.pathname}`;
  const quiet = Number(bar.dataset.quiet) * 1000;

  let kept = {};
  try {
    kept = JSON.parse(sessionStorage.getItem(key)) || {};
  } catch {
    // A browser that keeps nothing for files: the page reloads all the same.
  }
  let paused = kept.paused === true;
  let busy = -quiet;

  const folded = () => [...document.querySelectorAll("details")];
  const name = (part) => `${part.closest("section")?.id ?? ""} ${part.querySelector("summary")?.textContent ?? ""}`;

  const keep = (place) => {
    const state = { paused, open: folded().filter((part) => part.open).map(name), place };
    try {
      sessionStorage.setItem(key, JSON.stringify(state));
    } catch {
      // As above.
    }
  };

  const show = () => {
    words.textContent = paused
      ? "The search goes on; this page waits."
      : `The search goes on; this page reloads every ${seconds} seconds.`;
    button.textContent = paused ? "Reload again" : "Pause";
    button.hidden = false;
  };

  // What sticks below the bar begins where it ends, however many lines it takes.
  const measure = () => document.documentElement.style.setProperty("--live-height", `${bar.offsetHeight}px`);
  new ResizeObserver(measure).observe(bar);
  measure();

  button.addEventListener("click", () => {
    paused = !paused;
    keep(null);
    show();
  });
  for (const event of ["keydown", "pointerdown", "wheel", "input"]) {
    addEventListener(event, () => (busy = performance.now()), { passive: true });
  }

  const open = new Set(kept.open ?? []);
  for (const part of folded()) part.open ||= open.has(name(part));
  // A filter that stands in the address is no place on the page.
  if (kept.place && !/^#[^?]/u.test(location.hash)) scrollTo(kept.place[0], kept.place[1]);
  keep(null);
  show();

  const typing = () => document.activeElement?.matches("input, select, textarea") ?? false;
  setInterval(() => {
    const now = performance.now();
    if (paused || document.hidden || typing() || now < seconds * 1000 || now - busy < quiet) return;
    keep([scrollX, scrollY]);
    location.reload();
  }, 1000);
})();
