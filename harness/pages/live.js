// Reloads the page periodically while the search is running, and restores the open sections and the scroll position. No
// reload while the user is active on the page, or after a click on Pause.
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
    // No session storage for files in this browser: the page reloads without restoring its state.
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
      // No session storage.
    }
  };

  const show = () => {
    words.textContent = paused
      ? "The search is running; automatic reload is paused."
      : `The search is running; this page reloads every ${seconds} seconds.`;
    button.textContent = paused ? "Resume" : "Pause";
    button.hidden = false;
  };

  // Sticky elements begin at the lower edge of the bar, whose height depends on the line breaks.
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
  // A fragment "#?..." is a filter, not a position on the page.
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
