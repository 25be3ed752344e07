// Answers: in which colours and letters is it drawn? Those of the style sheet, as the theme has them now.

const COLOURS = [
  "ground", "ink", "muted", "grid", "step", "kernel", "h2d", "d2h", "d2d", "memset", "call", "range", "merged",
  "sync", "sync-ink", "asked", "asked-ink", "allocation", "pacing", "bubble", "band", "focus", "on-dark", "range-ink",
];

function coloursOf(host) {
  const probe = element("span");
  host.append(probe);
  const found = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

function hatched(context, colours) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.fillStyle = colours.band;
  pen.fillRect(0, 0, 8, 8);
  pen.strokeStyle = colours.bubble;
  pen.lineWidth = 2;
  for (const shift of [-8, 0, 8]) {
    pen.beginPath();
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat");
}

// A fixed width a glyph: measuring each name would cost more than drawing it.
const FONT = "11px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const BOLD = "600 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
const GLYPH = 6.7;
// The width that a flag takes.
const FLAG = 12;
const BOLD_WIDTH = 8;

function cropped(words, width, glyph) {
  const room = Math.floor(width / glyph);
  return words.length <= room ? words : room < 2 ? "" : `${words.slice(0, room - 1)}…`;
}
