"use strict";
// What a page does for its readers whatever it is about: choose the theme, open folds. Without it the page
// says the same, but stands still. It is loaded before the content, so that long tables are cut before they are laid
// out, and comes first of the files that make up a page's script.
document.documentElement.classList.add("js");

// Numbers as reports/numbers.py prints them.
const words = {
  missing: "\u2013",
  count: (value) => (value == null ? words.missing : Math.round(value).toLocaleString("en")),
  decimal: (value, digits) => (value == null ? words.missing : value.toFixed(digits)),
  pct: (value, digits) => (value == null ? words.missing : `${value.toFixed(digits)}\u00a0%`),
  spread: (mean, deviation, digits) =>
    deviation == null ? words.decimal(mean, digits) : `${words.decimal(mean, digits)} \u00b1 ${words.decimal(deviation, digits)}`,
  duration: (seconds) => {
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    const minutes = Math.floor(whole / 60);
    if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
    return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  },
};

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// The choice between the system's theme and one of the two, kept for the next page where the browser allows it.
function makeTheme() {
  const themes = ["automatic", "light", "dark"];
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const dark = rules.filter((rule) => rule.conditionText?.includes("prefers-color-scheme: dark"));
  const original = dark.map((rule) => rule.media.mediaText);
  const media = { light: "not all", dark: "screen" };
  const button = make("button", { type: "button", class: "theme", onclick: next });
  let theme = themes[0];
  try {
    theme = themes.find((name) => name === localStorage.getItem("theme")) ?? theme;
  } catch {
    // A browser that keeps nothing for files on disk.
  }
  show();
  return button;

  function next() {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // As above: the choice holds for this page.
    }
    show();
  }

  function show() {
    for (const [place, rule] of dark.entries()) rule.media.mediaText = media[theme] ?? original[place];
    document.documentElement.style.colorScheme = theme === "automatic" ? "" : theme;
    button.textContent = `Theme: ${theme}`;
  }
}

// Opens every fold around the place that an address names, and that of a section whose content is one.
function unfold() {
  const target = document.querySelector(":target");
  const within = target?.querySelector(":scope > details.folded");
  for (let at = within ?? target; at; at = at.parentElement) {
    if (at.tagName === "DETAILS") at.open = true;
  }
}
