// Answers: what is there to draw? Unpacks the columns that the page carries; times are nanoseconds.

const LOOKS = ["kernel", "h2d", "d2h", "d2d", "memset", "call", "range", "merged", "sync"];

function unpacked(packed) {
  for (const variant of packed.variants) {
    variant.rows = variant.lanes.flatMap(rowsOf);
    // What the switch of a line draws below the steps; one at a time.
    variant.without.forEach((each) => { each.rows = each.lanes.flatMap(rowsOf); });
    variant.shown = null;
    variant.waits.forEach((wait) => { wait.end = wait.start + wait.length; });
  }
  return packed;
}

// A lane of nested ranges has a row for each depth; every other lane is one row.
function rowsOf(lane) {
  const rows = Array.from({ length: lane.depth }, (_, depth) => ({ lane, depth, start: [], end: [], index: [] }));
  let start = 0;
  lane.start.forEach((step, index) => {
    start += step;
    const row = rows[lane.row ? lane.row[index] : 0];
    row.start.push(start);
    row.end.push(start + lane.length[index]);
    row.index.push(index);
  });
  for (const row of rows) {
    let reached = -Infinity;
    // Where events overlap, the ends are out of order; how far any so far reaches is not.
    row.reach = row.end.map((end) => { reached = Math.max(reached, end); return reached; });
  }
  return rows;
}

function firstVisible(row, from) {
  return d3.bisectRight(row.reach, from);
}

function extentOf(variants) {
  let low = Infinity;
  let high = -Infinity;
  for (const variant of variants) {
    for (const row of variant.rows) {
      if (row.start.length) {
        low = Math.min(low, row.start[0]);
        high = Math.max(high, row.reach[row.reach.length - 1]);
      }
    }
    for (const wait of variant.waits) {
      low = Math.min(low, wait.start);
      high = Math.max(high, wait.end, wait.idle ? wait.idle[0] + wait.idle[1] : wait.end);
    }
    for (const [, , start, end] of variant.steps) {
      low = Math.min(low, start);
      high = Math.max(high, end);
    }
  }
  return low < high ? [low, high] : [0, 1];
}

// The longest of the first measured steps, so that all of them are in view; everything where no step is marked.
function firstStepOf(variants, extent) {
  const ends = variants.flatMap((variant) => variant.steps.filter(([, warmup]) => !warmup).slice(0, 1).map((step) => step[3]));
  return ends.length ? [0, Math.max(...ends)] : extent;
}
