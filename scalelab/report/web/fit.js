// Laws that are a sum of falling powers, L = E + sum_k A_k x_k^-a_k, fitted as scalelab fit does:
// the least sum of squares of residuals of log loss (or of Huber's function of them).
//
// Coordinates as there: E, then ln A_k and a_k of each term, logs of x and of the loss centred.
// Steps are Levenberg and Marquardt's with weights min(1, delta / |r|) for Huber; bounds E >= 0
// and 0 <= a <= 20. Starts: a grid of exponents, coefficients by relative least squares.
const EXPONENTS = [0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.28, 0.4, 0.6, 1.0, 1.6];
const HIGHEST_EXPONENT = 20;
const FOLLOWED = 6;

const lawAt = (form, params, x) =>
  form.terms.reduce(
    (total, [a, b, column]) => total + params[a] * Math.pow(x[column], -params[b]),
    form.offset ? params[form.offset] : 0,
  );

// points: [{x: {column: value}, y, weight}]. Gives {params, objective}, or null.
function fitLaw(form, points, delta, start) {
  const names = form.terms.map((term) => term[2]);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const centre = names.map((name) => mean(points.map((p) => Math.log(p.x[name]))));
  const scale = mean(points.map((p) => Math.log(p.y)));
  const u = points.map((p) => names.map((name, k) => Math.log(p.x[name]) - centre[k]));
  const y = points.map((p) => Math.log(p.y) - scale);
  const raw = points.map((p) => p.weight ?? 1);
  const weights = raw.map((w) => w / mean(raw));
  const first = form.offset ? 1 : 0;
  const size = first + 2 * names.length;
  if (points.length < size) return null;
  const low = [], high = [];
  for (let i = 0; i < size; i++) {
    const exponent = i >= first && (i - first) % 2 === 1;
    low.push(i < first || exponent ? 0 : -Infinity);
    high.push(exponent ? HIGHEST_EXPONENT : Infinity);
  }

  function evaluate(theta) {
    let value = 0;
    const normal = Array.from({ length: size }, () => new Float64Array(size));
    const pull = new Float64Array(size);
    for (let i = 0; i < y.length; i++) {
      const slope = new Float64Array(size);
      let loss = 0;
      if (form.offset) {
        loss = theta[0];
        slope[0] = 1;
      }
      for (let k = 0; k < names.length; k++) {
        const at = first + 2 * k;
        const power = Math.exp(theta[at] - theta[at + 1] * u[i][k]);
        loss += power;
        slope[at] = power;
        slope[at + 1] = -u[i][k] * power;
      }
      const r = y[i] - Math.log(loss);
      const far = delta !== null && Math.abs(r) > delta;
      value += weights[i] * (far ? delta * (Math.abs(r) - delta / 2) : (r * r) / 2);
      const w = (weights[i] * (far ? delta / Math.abs(r) : 1)) / loss;
      for (let a = 0; a < size; a++) {
        pull[a] += w * slope[a] * r;
        for (let b = 0; b <= a; b++) normal[a][b] += (w * slope[a] * slope[b]) / loss;
      }
    }
    for (let a = 0; a < size; a++) for (let b = 0; b < a; b++) normal[b][a] = normal[a][b];
    return { value, normal, pull };
  }

  function follow(theta) {
    let here = evaluate(theta), damping = 1e-3;
    for (let turn = 0; turn < 3000 && damping < 1e12; turn++) {
      const free = theta
        .map((v, i) => i)
        .filter((i) => !(theta[i] <= low[i] && here.pull[i] < 0))
        .filter((i) => !(theta[i] >= high[i] && here.pull[i] > 0));
      const step = solve(
        free.map((a) => free.map((b) => here.normal[a][b] * (a === b ? 1 + damping : 1))),
        free.map((a) => here.pull[a]),
      );
      if (!step) break;
      const next = theta.slice();
      free.forEach((i, k) => (next[i] = Math.min(high[i], Math.max(low[i], theta[i] + step[k]))));
      const there = evaluate(next);
      if (there.value <= here.value) {
        const moved = Math.max(...next.map((v, i) => Math.abs(v - theta[i])));
        theta = next;
        here = there;
        damping = Math.max(damping / 5, 1e-14);
        if (moved < 1e-11) break;
      } else damping *= 4;
    }
    return { theta, value: here.value };
  }

  const starts = gridStarts(names.length, first, u, y)
    .map((theta) => ({ theta, value: evaluate(theta).value }))
    .filter((one) => isFinite(one.value))
    .sort((one, other) => one.value - other.value)
    .slice(0, FOLLOWED)
    .map((one) => one.theta);
  if (start) starts.push(inside(start));
  const found = starts.map(follow).filter((one) => isFinite(one.value));
  if (!found.length) return null;
  const best = found.reduce((a, b) => (b.value < a.value ? b : a));
  return { params: outside(best.theta), objective: best.value * mean(raw) };

  function inside(params) {
    const theta = form.offset ? [params[form.offset] / Math.exp(scale)] : [];
    form.terms.forEach(([a, b], k) =>
      theta.push(Math.log(params[a]) - params[b] * centre[k] - scale, params[b]),
    );
    return theta;
  }

  function outside(theta) {
    const params = form.offset ? { [form.offset]: theta[0] * Math.exp(scale) } : {};
    form.terms.forEach(([a, b], k) => {
      const at = first + 2 * k;
      params[a] = Math.exp(theta[at] + theta[at + 1] * centre[k] + scale);
      params[b] = theta[at + 1];
    });
    return params;
  }
}

// Exponents on a grid; for each, coefficients that minimise the relative residuals.
function gridStarts(terms, first, u, y) {
  let grid = [[]];
  for (let k = 0; k < terms; k++) grid = grid.flatMap((row) => EXPONENTS.map((a) => [...row, a]));
  return grid.map((exponents) => {
    const columns = y.map((value, i) => [
      ...(first ? [1] : []),
      ...exponents.map((a, k) => Math.exp(-a * u[i][k])),
    ].map((part) => part / Math.exp(value)));
    const width = first + terms;
    const gram = Array.from({ length: width }, (_, a) =>
      Array.from({ length: width }, (_, b) =>
        columns.reduce((sum, row) => sum + row[a] * row[b], a === b ? 1e-10 : 0),
      ),
    );
    const right = Array.from({ length: width }, (_, a) =>
      columns.reduce((sum, row) => sum + row[a], 0),
    );
    const linear = (solve(gram, right) ?? right.map(() => 0.5)).map((v) => Math.max(v, 0.01));
    const theta = first ? [linear[0]] : [];
    exponents.forEach((a, k) => theta.push(Math.log(linear[first + k]), a));
    return theta;
  });
}

// Gaussian elimination with pivots; null for a singular system.
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  const size = rows.length;
  for (let k = 0; k < size; k++) {
    let pivot = k;
    for (let i = k + 1; i < size; i++) {
      if (Math.abs(rows[i][k]) > Math.abs(rows[pivot][k])) pivot = i;
    }
    if (!(Math.abs(rows[pivot][k]) > 0)) return null;
    [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
    for (let i = k + 1; i < size; i++) {
      const share = rows[i][k] / rows[k][k];
      for (let j = k; j <= size; j++) rows[i][j] -= share * rows[k][j];
    }
  }
  const result = new Array(size);
  for (let i = size - 1; i >= 0; i--) {
    let value = rows[i][size];
    for (let j = i + 1; j < size; j++) value -= rows[i][j] * result[j];
    result[i] = value / rows[i][i];
  }
  return result.every(isFinite) ? result : null;
}

// Whether the page's fit of all points is that of laws.json, to 1e-4 of each constant.
function agrees(found, params) {
  return Object.entries(params).every(
    ([name, value]) => Math.abs(found[name] - value) <= 1e-4 * Math.max(Math.abs(value), 1e-3),
  );
}
