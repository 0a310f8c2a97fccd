// Values between those that were computed when the page was written.
const logSteps = (low, high, steps) =>
  Array.from({ length: steps + 1 }, (_, i) => low * Math.pow(high / low, i / steps));

// Through the four nearest of rising x, by Lagrange; null where one of their values is missing.
function between(xs, ys, x) {
  const last = xs.length - 1;
  let at = xs.findIndex((value) => value > x);
  if (at < 0) at = last;
  const width = Math.min(4, xs.length);
  const first = Math.max(0, Math.min(at - 2, xs.length - width));
  let total = 0;
  for (let i = first; i < first + width; i++) {
    if (ys[i] === null || ys[i] === undefined) return null;
    let share = 1;
    for (let j = first; j < first + width; j++) {
      if (j !== i) share *= (x - xs[j]) / (xs[i] - xs[j]);
    }
    total += share * ys[i];
  }
  return total;
}
