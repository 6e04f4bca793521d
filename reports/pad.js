// Lets a person draw, choose a picture or type numbers, and shows what the integer network says of it.
const pad = (() => {
  const BOX = 20;
  const INK = 0.3;
  const LARGEST_EDGE = 1000;
  const PEN = 22;
  const { plan, examples, low, high } = page.data;
  const { rows, columns, channels } = plan.maps[0];
  const find = (identifier) => document.getElementById(identifier);
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const byte = (number) => Math.min(Math.max(Math.round(number), 0), 255);
  const turned = (plane) => plane[0].map((_, column) => plane.map((row) => row[column]));
  const triangle = (x) => Math.max(0, 1 - Math.abs(x));
  const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const lanczos = (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0);

  // Resizes the rows of a plane as Pillow does: a new number is a weighted mean of those near it.
  function resizedRows(plane, length, filter) {
    const scale = plane[0].length / length;
    const wide = Math.max(scale, 1);
    const shares = Array.from({ length }, (_, at) => plane[0].map((_, n) => filter((n + 0.5 - (at + 0.5) * scale) / wide)));
    return plane.map((row) => shares.map((weights) => sum(row.map((number, n) => number * weights[n])) / sum(weights)));
  }
  const resized = (plane, height, width, filter) => turned(resizedRows(turned(resizedRows(plane, width, filter)), height, filter));

  // Makes a drawing a digit as MNIST's were made, by the steps of harness/data/other_images.py; null where there is no ink.
  function digit(plane) {
    const isInk = (row) => row.some((shade) => shade >= 255 * INK);
    if (!plane.some(isInk)) return null;
    const cut = (lines) => lines.slice(lines.findIndex(isInk), lines.findLastIndex(isInk) + 1);
    const ink = turned(cut(turned(cut(plane))));
    const scale = BOX / Math.max(ink.length, ink[0].length);
    const [height, width] = [ink.length, ink[0].length].map((extent) => Math.max(1, Math.round(extent * scale)));
    const small = resized(ink, height, width, lanczos).map((row) => row.map((shade) => Math.min(Math.max(shade, 0), 255)));
    const start = (lines, extent) => {
      const centre = sum(lines.map((line, n) => n * sum(line))) / sum(lines.flat());
      return Math.min(Math.max(Math.round(extent / 2 - 0.5 - centre), 0), extent - lines.length);
    };
    const top = start(small, rows);
    const left = start(turned(small), columns);
    return Array.from({ length: rows * columns }, (_, at) => byte(small[Math.floor(at / columns) - top]?.[(at % columns) - left] ?? 0));
  }
