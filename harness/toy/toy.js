"use strict";
// Training of the toy network in the browser, with the arithmetic of harness/toy/backprop.py in the same order, so that
// both give equal numbers; and the page. `toy` is available in the console: toy.losses(0.5, 10).

const toy = (() => {
  const documents = page.data.start;

  function sigmoid(x) {
    if (x < 0) {
      const grown = Math.exp(x);
      return grown / (1 + grown);
    }
    return 1 / (1 + Math.exp(-x));
  }

  // Returns the inputs and all quantities of a forward and a backward pass.
  function forwardAndBackward(start) {
    const { i1, i2, t1, t2, w1, w2, w3, w4, w5, w6, w7, w8 } = start;
    const h1 = w1 * i1 + w2 * i2;
    const h2 = w3 * i1 + w4 * i2;
    const a_h1 = sigmoid(h1);
    const a_h2 = sigmoid(h2);
    const o1 = w5 * a_h1 + w6 * a_h2;
    const o2 = w7 * a_h1 + w8 * a_h2;
    const a_o1 = sigmoid(o1);
    const a_o2 = sigmoid(o2);
    const E1 = (1 / 2) * (t1 - a_o1) * (t1 - a_o1);
    const E2 = (1 / 2) * (t2 - a_o2) * (t2 - a_o2);
    const E_total = E1 + E2;

    const dE_da_o1 = a_o1 - t1;
    const dE_da_o2 = a_o2 - t2;
    const da_o1_do1 = a_o1 * (1 - a_o1);
    const da_o2_do2 = a_o2 * (1 - a_o2);
    const dE_do1 = dE_da_o1 * da_o1_do1;
    const dE_do2 = dE_da_o2 * da_o2_do2;
    const dE_dw5 = dE_do1 * a_h1;
    const dE_dw6 = dE_do1 * a_h2;
    const dE_dw7 = dE_do2 * a_h1;
    const dE_dw8 = dE_do2 * a_h2;
    const dE_da_h1 = dE_do1 * w5 + dE_do2 * w7;
    const dE_da_h2 = dE_do1 * w6 + dE_do2 * w8;
    const da_h1_dh1 = a_h1 * (1 - a_h1);
    const da_h2_dh2 = a_h2 * (1 - a_h2);
    const dE_dh1 = dE_da_h1 * da_h1_dh1;
    const dE_dh2 = dE_da_h2 * da_h2_dh2;
    const dE_dw1 = dE_dh1 * i1;
    const dE_dw2 = dE_dh1 * i2;
    const dE_dw3 = dE_dh2 * i1;
    const dE_dw4 = dE_dh2 * i2;
    return {
      ...start, h1, h2, a_h1, a_h2, o1, o2, a_o1, a_o2, E1, E2, E_total,
      dE_da_o1, dE_da_o2, da_o1_do1, da_o2_do2, dE_do1, dE_do2, dE_dw5, dE_dw6, dE_dw7, dE_dw8,
      dE_da_h1, dE_da_h2, da_h1_dh1, da_h2_dh2, dE_dh1, dE_dh2, dE_dw1, dE_dw2, dE_dw3, dE_dw4,
    };
  }

  // Returns the inputs after an update; `known` is the result of `forwardAndBackward`.
  function update(known, learningRate) {
    const next = {};
    for (const name of Object.keys(documents)) next[name] = known[name];
    for (let number = 1; number <= 8; number += 1) {
      next[`w${number}`] = known[`w${number}`] - learningRate * known[`dE_dw${number}`];
    }
    return next;
  }

  // Returns the loss before the first update and after each update.
  function losses(learningRate, updates, start = documents) {
    let known = forwardAndBackward(start);
    const found = [known.E_total];
    for (let done = 0; done < updates; done += 1) {
      known = forwardAndBackward(update(known, learningRate));
      found.push(known.E_total);
    }
    return found;
  }

  return { documents, forwardAndBackward, update, losses };
})();

(() => {
  const find = (identifier) => document.getElementById(identifier);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const slider = find("slider");
  const box = find("rate");
  const most = 1000;
  const updatesPerFrame = 4;
  let rate = Number(box.defaultValue);
  let start = { ...toy.documents };
  let known;
  let history;
  let frame = null;

  const short = (number, digits = 6) =>
    Number.isFinite(number) ? String(Number(number.toPrecision(digits))) : "not a number";
  const putIn = (number) => {
    const shown = String(Number(number.toPrecision(5)));
    return number < 0 ? `(${shown})` : shown;
  };

  function show() {
    const numbers = { ...known, learning_rate: rate };
    const next = toy.update(known, rate);
    for (const place of all("[data-value]")) {
      place.textContent = short(numbers[place.dataset.value], Number(place.dataset.digits));
    }
    for (const place of all("[data-next]")) {
      place.textContent = short(next[place.dataset.next], Number(place.dataset.digits));
    }
    for (const place of all("[data-formula]")) {
      place.textContent = place.dataset.formula.replace(/[A-Za-z_]\w*/g, (name) =>
        name in numbers ? putIn(numbers[name]) : name,
      );
    }
    for (const { live, height } of pictures) live.setAttribute("points", points(history, height));
  }

  // Plot area of the loss; the thin curves use the values of the documents, with labels at the right ends.
  const [left, right, top, bottom, high, apart] = [72, 554, 28, 364, 0.3, 15];
  const across = (done) => left + (done / most) * (right - left);
  const points = (losses, height) =>
    losses
      .map((loss, done) => (Number.isFinite(loss) ? `${across(done).toFixed(1)},${height(loss).toFixed(1)}` : ""))
      .join(" ");

  function draw(picture) {
    const low = Number(picture.dataset.low);
    const scale = low ? Math.log : Number;
    const height = (loss) => {
      const share = (scale(Math.min(Math.max(loss, low), high)) - scale(low)) / (scale(high) - scale(low));
      return bottom + share * (top - bottom);
    };
    const add = (tag, attributes, words = "") => {
      const made = document.createElementNS(picture.namespaceURI, tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      made.textContent = words;
      picture.append(made);
      return made;
    };
    for (const level of low ? [1e-5, 1e-4, 1e-3, 0.01, 0.1] : [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]) {
      add("line", { x1: left, x2: right, y1: height(level), y2: height(level), class: "grid" });
      add("text", { x: left - 8, y: height(level) + 4, "text-anchor": "end" }, short(level));
    }
    const curves = all("[data-rate]").map(({ dataset }, at) => ({ at, rate: dataset.rate, losses: toy.losses(Number(dataset.rate), most) }));
    for (const { at, losses } of curves) add("polyline", { points: points(losses, height), class: `curve rate-${at}` });
    let free = Infinity;
    for (const { at, rate, losses } of [...curves].sort((one, other) => height(other.losses[most]) - height(one.losses[most]))) {
      const end = height(losses[most]);
      const y = Math.min(end, free);
      free = y - apart;
      add("line", { x1: right + 1, y1: end, x2: right + 14, y2: y, class: "leader" });
      add("text", { x: right + 17, y: y + 4, class: `on-rate-${at}` }, rate);
    }
    return { height, live: add("polyline", { class: "curve live", "data-live": picture.dataset.picture }) };
  }
  const pictures = all("[data-picture]").map(draw);

  // Whether an error remains, but saturated sigmoids make the gradient vanish; same bound as in harness/toy/rates.py.
  function flat() {
    const slopes = Object.keys(known).filter((name) => name.startsWith("dE_dw"));
    const steepest = Math.max(...slopes.map((name) => Math.abs(known[name])));
    return steepest < 5e-5 * Math.sqrt(2 * known.E_total);
  }

  // Returns the name of an input without a valid number and the number that is used instead; "" if all are valid.
  function broken() {
    const input = all("input").find((each) => !each.validity.valid);
    if (!input) return "";
    const name = input.dataset.start;
    return `${name ?? "Learning rate"}: not a number; the last valid number is used: ${name ? start[name] : rate}.`;
  }

  function remark() {
    const complaint = broken();
    if (complaint) return complaint;
    if (!Number.isFinite(known.E_total)) return "The weights have overflowed: the loss is not a number. Press Reset.";
    if (rate === 0) return "A learning rate of 0 does not change the weights.";
    if (rate < 0) return "With a negative learning rate the loss rises.";
    if (history.length > 1 && known.E_total < 1e-18) return "The example is learned: the error is close to zero.";
    if (history.length > 1 && flat()) return "The sigmoids are saturated: an error remains, but the gradient vanishes.";
    if (rate < 0.01) return "A learning rate below 0.01 hardly changes the weights.";
    return "";
  }

  function say() {
    const done = history.length - 1;
    const count = `after ${done.toLocaleString("en")} update${done === 1 ? "" : "s"}`;
    const when = done === 0 ? "before the first update" : count;
    const end = done >= most ? " The chart ends here; press Reset to restart." : "";
    find("status").textContent = `Learning rate ${rate}, ${when}: loss ${short(known.E_total)}.${end}`;
    find("remark").textContent = remark();
  }

  function step(times) {
    for (let done = 0; done < times && history.length <= most; done += 1) {
      known = toy.forwardAndBackward(toy.update(known, rate));
      history.push(known.E_total);
    }
    show();
  }

  function pause() {
    if (frame !== null) cancelAnimationFrame(frame);
    frame = null;
    find("run").textContent = "Run";
    say();
  }

  function next() {
    step(updatesPerFrame);
    if (history.length > most) pause();
    else frame = requestAnimationFrame(next);
  }

  function run() {
    if (frame !== null) {
      pause();
    } else if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      step(most);
      say();
    } else {
      find("run").textContent = "Pause";
      find("status").textContent = "Running.";
      frame = requestAnimationFrame(next);
    }
  }

  function reset() {
    known = toy.forwardAndBackward(start);
    history = [known.E_total];
    show();
    pause();
  }

  function setRate(value) {
    rate = value;
    slider.value = value > 0 ? Math.log10(value) : slider.min;
    slider.setAttribute("aria-valuetext", String(value));
    for (const button of all("[data-rate]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.rate) === value));
    }
    show();
    find("remark").textContent = remark();
    if (frame === null) say();
  }

  // An invalid input is marked by the browser and named in the remark; the last valid number stays in use.
  function read(input, use) {
    const value = input.value.trim() === "" ? NaN : Number(input.value);
    input.setCustomValidity(Number.isFinite(value) ? "" : "Enter a finite number.");
    if (Number.isFinite(value)) use(value);
    else find("remark").textContent = remark();
  }

  slider.addEventListener("input", () => {
    const value = Number((10 ** Number(slider.value)).toPrecision(3));
    box.value = value;
    box.setCustomValidity("");
    setRate(value);
  });
  box.addEventListener("input", () => read(box, setRate));
  for (const button of all("[data-rate]")) {
    button.addEventListener("click", () => {
      box.value = button.dataset.rate;
      box.setCustomValidity("");
      setRate(Number(box.value));
    });
  }
  for (const input of all("[data-start]")) {
    input.addEventListener("input", () =>
      read(input, (value) => {
        start[input.dataset.start] = value;
        reset();
      }),
    );
  }
  find("documents").addEventListener("click", () => {
    start = { ...toy.documents };
    for (const input of all("[data-start]")) {
      input.value = start[input.dataset.start];
      input.setCustomValidity("");
    }
    reset();
  });
  find("step").addEventListener("click", () => (step(1), say()));
  find("ten").addEventListener("click", () => (step(10), say()));
  find("run").addEventListener("click", run);
  find("reset").addEventListener("click", reset);

  // Some browsers restore typed values after a reload; reset all inputs to the default values.
  box.value = box.defaultValue;
  for (const input of all("[data-start]")) input.value = input.defaultValue;
  reset();
  setRate(rate);
})();
