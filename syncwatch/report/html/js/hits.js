// Answers: what is under the pointer? A wait before its bubble, a bubble before what ran.

const REACH = 4;

function hit(layout, x, y, time, pixel) {
  const placed = layout.placed.find((each) => y >= each.top && y < each.bottom);
  if (!placed) return null;
  const variant = layout.placed.indexOf(placed);
  const wait = nearestWait(placed, y, time, pixel);
  if (wait !== null) return { variant, wait };
  const at = placed.rows.find((each) => y >= each.y - 2 && y <= each.y + each.height + 2);
  if (!at) return null;
  const { row } = at;
  for (let i = firstVisible(row, time - pixel); i < row.start.length && row.start[i] <= time + pixel; i++) {
    if (row.end[i] >= time - pixel) return { variant, row, at: i };
  }
  return null;
}

function nearestWait(placed, y, time, pixel) {
  let best = null;
  let distance = Infinity;
  placed.variant.waits.forEach((wait, index) => {
    const host = placed.hosts.get(wait.thread);
    const inHost = host && y >= host.y - 4 && y <= host.y + host.height + 2;
    const band = placed.gpus.get(wait.gpu);
    const inBubble = wait.idle && wait.idle[1] && band && y >= band[0] && y <= band[1] + 2;
    const away = inHost
      ? Math.max(wait.start - time, time - wait.end, 0)
      : inBubble ? Math.max(wait.idle[0] - time, time - wait.idle[0] - wait.idle[1], 0) : Infinity;
    const reach = inHost ? REACH * pixel : 0;
    if (away <= reach && away < distance) { best = index; distance = away; }
  });
  return best;
}
