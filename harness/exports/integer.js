// Integer network in JavaScript, with the arithmetic of harness/training/integer.py. A map is an Int32Array, channels
// innermost. Python has checked that all sums and values fit into 32 bits, so all numbers are exact.
const { plan } = page.data;
const SLOPE_BITS = 8;
const range = (count) => [...Array(count).keys()];
const places = (rows, columns) => range(rows).flatMap((row) => range(columns).map((column) => [row, column]));
const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
const shifted = (value, bits) => (value + ((1 << bits) >> 1)) >> bits;

// Returns the weights of learned filters in all poses, poses of a filter adjacent; ``orders`` has the order per pose.
function inPoses({ filters, rows, columns, channels, weights }, orders) {
  const posed = [];
  for (const [filter, pose] of places(filters, orders.places.length)) {
    for (const place of orders.places[pose]) {
      for (const channel of range(channels)) {
        const part = channel % orders.channels[pose].length;
        posed.push(weights[(filter * rows * columns + place) * channels + channel - part + orders.channels[pose][part]]);
      }
    }
  }
  return Int16Array.from(posed);
}
const posedWeights = plan.steps.map((step) => (step.kernel === null ? null : inPoses(plan.kernels[step.kernel], step.orders)));

// Returns the sums of a convolution or linear layer.
function convolve({ sums: { rows, columns, channels }, stride, paddings, ...step }, source, weights) {
  const kernel = plan.kernels[step.kernel];
  const kernelPlaces = places(kernel.rows, kernel.columns);
  const values = new Int32Array(rows * columns * channels);
  for (const [at, [row, column]] of places(rows, columns).entries()) {
    for (const [weightPlace, [i, j]] of kernelPlaces.entries()) {
      const y = row * stride + i - paddings[0];
      const x = column * stride + j - paddings[1];
      if (y < 0 || x < 0 || y >= source.rows || x >= source.columns) continue;
      for (let filter = 0; filter < channels; filter += 1) {
        const group = Math.floor((filter * source.channels) / (channels * kernel.channels));
        const input = (y * source.columns + x) * source.channels + group * kernel.channels;
        const weight = (filter * kernelPlaces.length + weightPlace) * kernel.channels;
        for (let channel = 0; channel < kernel.channels; channel += 1) {
          values[at * channels + filter] += source.values[input + channel] * weights[weight + channel];
        }
      }
    }
  }
  return { rows, columns, channels, values };
}

// Applies multipliers, biases, residual sum and rectifier to the sums of a map.
function output(step, target, map, skip) {
  const values = map.values.map((sum, at) => {
    const numberOf = (numbers) => numbers[Math.floor(((at % map.channels) * numbers.length) / map.channels)];
    let value = shifted(sum, step.sum_bits) * numberOf(step.multipliers);
    if (step.biases.length) value += numberOf(step.biases) * 2 ** step.bias_bits;
    if (skip) value += skip[at] * step.skip_multiplier;
    if (step.slope !== null && value < 0) value = (value >> SLOPE_BITS) * step.slope;
    return Math.min(Math.max(shifted(value, step.output_bits), target.low), target.high);
  });
  return { ...map, values };
}

// Returns the maxima or rounded means of windows, or the numbers of each window moved into channels.
function pooled({ window: [height, width], kind, takes_mean }, { rows, columns, channels, values }) {
  const results = [];
  for (const [row, column] of places(Math.floor(rows / height), Math.floor(columns / width))) {
    for (const channel of range(channels)) {
      const first = (row * height * columns + column * width) * channels + channel;
      const numbers = places(height, width).map(([i, j]) => values[first + (i * columns + j) * channels]);
      if (kind === "unshuffle") results.push(...numbers);
      else results.push(takes_mean ? Math.floor((2 * total(numbers) + numbers.length) / (2 * numbers.length)) : Math.max(...numbers));
    }
  }
  return Int32Array.from(results);
}

// Returns the logits of the numbers of a map, or of the channel sums if ``is_global``.
function sumUp(step, { channels, values }, weights) {
  const sumOf = (channel) => total(values.filter((_, at) => at % channels === channel));
  const inputs = step.is_global ? range(channels).map(sumOf) : [...values];
  if (!weights) return inputs;
  const products = (label) => inputs.map((input, at) => input * weights[label * inputs.length + at]);
  return step.biases.map((bias, label) => total(products(label)) + bias * 2 ** step.bias_bits);
}

// Returns all maps and the logits of an image; ``pixels`` are in the order rows, columns, channels.
function run(pixels) {
  const results = [Int32Array.from(pixels)];
  for (const [index, step] of plan.steps.entries()) {
    let map = { ...plan.maps[step.source], values: results[step.source].map((value) => value - step.offset) };
    if (step.kind === "logits") return { maps: results, logits: sumUp(step, map, posedWeights[index]) };
    if (step.kind === "convolution") map = convolve(step, map, posedWeights[index]);
    if (step.multipliers.length) map = output(step, plan.maps[step.target], map, results[step.skip]);
    results.push(step.window ? pooled(step, map) : map.values);
  }
}
