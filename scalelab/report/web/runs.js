// Training curves and costs: one line or one marker a run.
const sizeOrder = () => [...new Set(page.runs.map((run) => run.N))].sort((a, b) => a - b);

function startCurves() {
  const node = byId("curves-plot");
  if (!node || !page.curves.length) return;
  const chosen = { x: "tokens", logX: true, logY: true };
  choices("curves-choice", [["tokens", "training tokens"], ["flops", "training FLOPs"]], (value) => {
    chosen.x = value;
    draw();
  });
  byId("curves-log-x").onchange = (event) => ((chosen.logX = event.target.checked), draw());
  byId("curves-log-y").onchange = (event) => ((chosen.logY = event.target.checked), draw());
  const sizes = sizeOrder();

  function draw() {
    const named = new Set();
    const traces = page.curves.map((curve) => {
      const run = page.runs[curve.run], place = sizes.indexOf(run.N), first = !named.has(run.N);
      named.add(run.N);
      return {
        type: "scatter", mode: "lines", name: `N = ${short(run.N)}`, legendgroup: `${run.N}`, showlegend: first,
        x: curve[chosen.x], y: curve.loss, line: { color: shade(place, sizes.length), width: 1.4, dash: run.ok ? "solid" : "dot" },
        hovertemplate: `${about(run)}<br>training loss %{y:.3f} at %{x:.3s} ${chosen.x === "tokens" ? "tokens" : "FLOPs"}<extra></extra>`,
      };
    });
    const ends = page.curves.map((curve) => [curve, page.runs[curve.run]]).filter(([, run]) => run.ok);
    traces.push({
      type: "scatter", mode: "markers", name: "held-out loss", x: ends.map(([curve]) => curve[chosen.x].at(-1)),
      y: ends.map(([, run]) => run.loss_nats), text: ends.map(([, run]) => about(run)), hovertemplate: "%{text}<extra></extra>",
      marker: { color: "#ffffff", size: 7, line: { color: COLOURS.ink, width: 1.5 } },
    });
    const what = chosen.x === "tokens" ? "training tokens" : "training FLOPs";
    show("curves-plot", traces, {
      height: 460, xaxis: axis(what, chosen.logX, chosen.x === "flops" ? POWERS : ticksOf(page.curves.map((curve) => curve.tokens.at(-1)))), yaxis: axis("training loss (nats per token)", chosen.logY, { tickformat: ".3~g" }),
    }, `Training loss of ${page.curves.length} runs against ${what}, coloured by size from N = ${short(sizes[0])} to ${short(sizes.at(-1))}. The final losses are in the table of runs.`);
  }
  draw();
}

function startCosts() {
  const node = byId("cost-plot");
  if (!node || !page.costs.length) return;
  let cost = page.costs[0];
  choices("cost-choice", page.costs.map((one, place) => [`${place}`, one.label]), (value) => {
    cost = page.costs[Number(value)];
    draw();
  });
  byId("cost-log").onchange = draw;

  function draw() {
    const log = byId("cost-log").checked;
    const runs = page.runs.filter((run) => run[cost.column]);
    const marks = (ok, name, marker) => {
      const some = runs.filter((run) => run.ok === ok);
      return some.length ? [{
        type: "scatter", mode: "markers", name, marker, x: some.map((run) => run.N), y: some.map((run) => run[cost.column] * cost.scale),
        text: some.map(about), hovertemplate: `%{text}<br>${inPlot(cost.label)} %{y:.4~g} ${inPlot(cost.unit)}<extra></extra>`,
      }] : [];
    };
    const traces = [
      ...marks(true, "runs", { color: COLOURS.ink, size: 8, line: { color: "#fff", width: 1 } }),
      ...marks(false, "failed runs", { color: COLOURS.bad, size: 9, symbol: "x-open", line: { width: 2 } }),
    ];
    const grown = cost.growth;
    if (grown) {
      const at = logSteps(grown.N[0], grown.N[1], 40);
      traces.unshift({
        type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: COLOURS.law, width: 1.5 }, name: `a power of N, exponent ${grown.exponent.toFixed(2)}`,
        x: at, y: at.map((n) => grown.coefficient * Math.pow(n, grown.exponent) * cost.scale),
      });
    }
    const values = runs.map((run) => run[cost.column] * cost.scale);
    show("cost-plot", traces, {
      height: 400, xaxis: axis("non-embedding parameters N", log, ticksOf(sizeOrder())), yaxis: axis(`${cost.label} (${cost.unit})`, log && cost.column !== "mfu", cost.column === "C" ? POWERS : { tickformat: "~s" }), showlegend: true,
    }, `${cost.label} of ${runs.length} runs against N, from ${plain(Math.min(...values), 3)} to ${plain(Math.max(...values), 3)} ${cost.unit}. ${grown ? `It grows as N to the power ${grown.exponent.toFixed(2)}.` : ""} The numbers are in the table of costs.`);
  }
  draw();
}
