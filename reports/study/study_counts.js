// What is counted over networks, counted again over those that the filter shows. reports/choices.py and
// reports/time_spent.py say what the figures are.

// `choices` as the page has them with `picked` unpacked; `shown` says of each network whether the filter lets it pass.
function showChoices(choices, networks, shown) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = (values, centre) => values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  const score = (accuracy) => Math.log(Math.max(100 - accuracy, 0.01));
  for (const [c, choice] of choices.list.entries()) {
    const groups = choice.options.map(() => []);
    for (const [n, index] of choice.picked.entries()) {
      if (index != null && shown[n]) groups[choice.options.findIndex((option) => option[0] === index)].push(n);
    }
    const filled = groups.filter((group) => group.length).map((group) => group.map((n) => score(choices.accuracy_pct[n])));
    const every = filled.flat();
    const total = every.length ? squares(every, mean(every)) : 0;
    const inside = filled.reduce((sum, group) => sum + squares(group, mean(group)), 0);
    const left = every.length - filled.length;
    const explained = total > 0 && left > 0 ? Math.max(0, 1 - ((inside / total) * (every.length - 1)) / left) : 0;
    let best = null;
    for (const [place, [index, name]] of choice.options.entries()) {
      const accuracies = groups[place].map((n) => choices.accuracy_pct[n]);
      const sizes = groups[place].map((n) => networks.parameters[n]).sort((one, other) => one - other);
      const average = accuracies.length ? mean(accuracies) : null;
      if (average !== null && (best === null || average > best[1])) best = [name, average];
      fill(`option-${c}-${index}`, {
        2: words.count(accuracies.length),
        3: words.decimal(average, 2),
        4: words.decimal(accuracies.length ? Math.max(...accuracies) : null, 2),
        5: words.count(sizes[(sizes.length - 1) >> 1]),
      });
    }
    fill(`choice-${c}`, {
      1: words.pct(100 * explained, 0),
      3: words.count(every.length),
      4: String(filled.length),
      5: best ? `${best[0]}: ${words.decimal(best[1], 2)}\u00a0% on average` : words.missing,
    });
    stretch(`choice-${c}`, explained);
  }
}

function showTime(spent, restSeconds, shown) {
  const kinds = Object.entries(spent).map(([kind, of]) => {
    const seconds = Object.entries(of).reduce((sum, [n, value]) => sum + (shown[n] ? value : 0), 0);
    return [kind, seconds];
  });
  // The rest belongs to no network, so a part of them has none.
  const rest = document.getElementById("spent-rest");
  if (rest) {
    rest.hidden = !shown.every(Boolean);
    if (!rest.hidden) kinds.push(["rest", restSeconds]);
  }
  const total = kinds.reduce((sum, [, seconds]) => sum + seconds, 0);
  const largest = Math.max(...kinds.map(([, seconds]) => seconds));
  for (const [kind, seconds] of kinds) {
    fill(`spent-${kind}`, { 1: words.duration(seconds), 2: words.pct(total ? (100 * seconds) / total : 0, 1) });
    stretch(`spent-${kind}`, largest ? seconds / largest : 0);
  }
}

function fill(identifier, cells) {
  const row = document.getElementById(identifier);
  if (!row) return;
  for (const [place, text] of Object.entries(cells)) (row.cells[place].querySelector("bdi") ?? row.cells[place]).textContent = text;
}

function stretch(identifier, length) {
  document.getElementById(identifier)?.querySelector("rect").setAttribute("width", Math.max(100 * length, 0.5));
}
