// Answers: where does each row stand? Heights in CSS pixels, from the top of the canvas.

const AXIS = 26;
const TITLE = 30;
const STEPS = 16;
const HEIGHTS = { ranges: 16, host: 44, stream: 22 };
const NARROW = 640;
// A page may be opened in a window that has no width yet.
const NARROWEST = 200;
const LABEL = 17;
// Above the bars of a host lane: the flags of its waits, and their names.
const FLAGS = 15;

function layoutOf(variants, wanted) {
  const width = Math.max(wanted, NARROWEST);
  const narrow = width < NARROW;
  const gutter = narrow ? 0 : 168;
  let y = AXIS;
  const placed = variants.map((variant) => {
    const top = y;
    y += TITLE;
    const steps = y;
    y += variant.steps.length ? STEPS : 0;
    const place = (row) => {
      const labelled = row.depth === 0;
      if (narrow && labelled) y += LABEL;
      const height = HEIGHTS[row.lane.kind];
      const flags = row.lane.kind === "host" ? FLAGS : 0;
      const at = { row, y: y + 2 + flags, height: height - 4 - flags, labelled };
      y += height;
      return at;
    };
    const own = variant.rows.map(place);
    const without = variant.shown ? y : null;
    if (variant.shown) y += TITLE + STEPS;
    const rows = variant.shown ? [...own, ...variant.shown.rows.map(place)] : own;
    y += 10;
    return { variant, top, steps, rows, without, bottom: y, hosts: hostsOf(own), gpus: gpusOf(own) };
  });
  return { placed, gutter, narrow, width, height: y + 4 };
}

function hostsOf(rows) {
  const hosts = new Map();
  for (const at of rows) if (at.row.lane.kind === "host") hosts.set(at.row.lane.owner, at);
  return hosts;
}

// The band that the streams of a GPU take: a bubble goes through all of them.
function gpusOf(rows) {
  const bands = new Map();
  for (const at of rows) {
    if (at.row.lane.kind !== "stream") continue;
    const band = bands.get(at.row.lane.owner) || [at.y, at.y];
    bands.set(at.row.lane.owner, [band[0], at.y + at.height]);
  }
  return bands;
}

function lookOfWait(wait) {
  if (wait.pacing) return "pacing";
  if (wait.allocation) return "allocation";
  const finding = DATA.findings[wait.finding];
  return wait.allowed !== null || (finding && finding.explicit) ? "asked" : "sync";
}
