"use strict";
// Makes tabs of a list of links and the parts that they lead to. The address names the part in sight. Without this
// script, and on paper, all parts are in sight one below the other.
(() => {
  for (const place of document.querySelectorAll("[data-tabs]")) {
    const list = place.querySelector("nav > ul");
    const links = [...list.querySelectorAll("a")];
    const parts = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));

    const select = (chosen) => {
      links.forEach((link, at) => {
        link.setAttribute("aria-selected", String(at === chosen));
        link.tabIndex = at === chosen ? 0 : -1;
        parts[at].classList.toggle("off", at !== chosen);
      });
    };
    const named = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      return parts.findIndex((part) => target && part.contains(target));
    };
    const go = (chosen) => {
      select(chosen);
      history.replaceState(null, "", links[chosen].hash);
    };

    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", place.querySelector("nav").getAttribute("aria-label"));
    links.forEach((link, at) => {
      link.parentElement.setAttribute("role", "presentation");
      link.setAttribute("role", "tab");
      link.id = `${parts[at].id}-tab`;
      link.setAttribute("aria-controls", parts[at].id);
      parts[at].setAttribute("role", "tabpanel");
      parts[at].setAttribute("aria-labelledby", link.id);
      link.addEventListener("click", (event) => {
        event.preventDefault();
        go(at);
      });
      link.addEventListener("keydown", (event) => {
        const last = links.length - 1;
        const next = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last };
        if (!(event.key in next)) return;
        event.preventDefault();
        go(next[event.key]);
        links[next[event.key]].focus();
      });
    });
    select(Math.max(named(), 0));
    addEventListener("hashchange", () => {
      if (named() >= 0) select(named());
    });
  }
})();
