// Answers: how does it look? Draws what is in view on a canvas; what shares a pixel is drawn once.

// No browser holds a canvas of 32,768 pixels or more.
const HIGHEST = 32000;

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  theme(host) {
    this.colours = coloursOf(host);
    this.hatch = hatched(this.context, this.colours);
  }

  resize(layout) {
    const ratio = Math.min(window.devicePixelRatio || 1, HIGHEST / layout.height);
    this.canvas.width = Math.round(layout.width * ratio);
    this.canvas.height = Math.round(layout.height * ratio);
    this.canvas.style.width = `${layout.width}px`;
    this.canvas.style.height = `${layout.height}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  paint(layout, domain, selected) {
    const { context: pen, colours } = this;
    this.layout = layout;
    this.from = domain[0];
    this.to = domain[1];
    this.scale = (layout.width - layout.gutter) / (domain[1] - domain[0]);
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, layout.width, layout.height);
    this.axis();
    for (const placed of layout.placed) this.variant(placed, selected);
    pen.fillStyle = colours.ground;
    pen.fillRect(0, 0, layout.gutter, layout.height);
    this.labels();
  }

  x(time) {
    return this.layout.gutter + (time - this.from) * this.scale;
  }

  axis() {
    const { context: pen, colours, layout } = this;
    const [unit, name] = unitOf(this.to - this.from);
    const ticks = d3.ticks(this.from / unit, this.to / unit, Math.max(2, (layout.width - layout.gutter) / 120));
    const decimals = ticks.length > 1 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0]) + 1e-9))) : 0;
    pen.font = FONT;
    pen.textBaseline = "middle";
    for (const tick of ticks) {
      const x = Math.round(this.x(tick * unit)) + 0.5;
      pen.fillStyle = colours.grid;
      pen.fillRect(x - 0.5, AXIS - 4, 1, layout.height);
      pen.fillStyle = colours.muted;
      pen.fillText(`${grouped(tick, decimals)} ${name}`, x + 4, AXIS / 2);
    }
  }

  variant(placed, selected) {
    this.steps(placed);
    this.bubbles(placed);
    for (const at of placed.rows) this.row(at);
    this.waits(placed);
    if (placed.without !== null) this.without(placed);
    if (selected && this.layout.placed.indexOf(placed) === selected.variant) this.selection(placed, selected);
  }

  steps(placed) {
    const { context: pen, colours } = this;
    for (const [index, warmup, start, end] of placed.variant.steps) {
      if (end < this.from || start > this.to) continue;
      const left = this.x(start);
      const right = this.x(end);
      pen.fillStyle = colours.step;
      pen.fillRect(Math.round(left), placed.steps, 1, placed.bottom - placed.steps - 10);
      pen.fillStyle = colours.grid;
      pen.fillRect(left, placed.steps + 2, Math.max(1, right - left - 1), STEPS - 4);
      this.caption(warmup ? `warm-up ${index}` : `step ${index}`, left, right, placed.steps + STEPS / 2, colours.ink);
    }
  }

  // The steps as they would be, under the steps as they are; a line shows where they would end.
  without(placed) {
    const { context: pen, colours } = this;
    const { shown } = placed.variant;
    const top = placed.without + TITLE;
    shown.steps.forEach(([start, end], index) => {
      if (end < this.from || start > this.to) return;
      const [left, right] = [this.x(start), this.x(end)];
      pen.fillStyle = colours.grid;
      pen.fillRect(left, top + 2, Math.max(1, right - left - 1), STEPS - 4);
      this.caption(`without it, step ${index + 1}`, left, right, top + STEPS / 2, colours.ink);
    });
    pen.fillStyle = colours.focus;
    pen.fillRect(Math.round(this.x(shown.end)), top, 2, placed.bottom - top - 10);
  }

  // A bubble goes through every stream of its GPU, below what ran on them.
  bubbles(placed) {
    const pen = this.context;
    pen.fillStyle = this.hatch;
    for (const wait of placed.variant.waits) {
      const band = placed.gpus.get(wait.gpu);
      if (!band || !wait.idle || !wait.idle[1] || wait.pacing) continue;
      const [start, length] = wait.idle;
      if (start + length < this.from || start > this.to) continue;
      const left = Math.max(this.x(start), this.layout.gutter - 2);
      const right = Math.min(this.x(start + length), this.layout.width + 2);
      pen.fillRect(left, band[0] - 1, Math.max(1, right - left), band[1] - band[0] + 2);
      this.idleCaption(left, right, band, length);
      pen.fillStyle = this.hatch;
    }
  }

  idleCaption(left, right, band, length) {
    const { context: pen, colours } = this;
    const words = `idle ${micros(length)}`;
    const wide = words.length * GLYPH + 8;
    if (right - left < wide + 8) return;
    const middle = (left + right) / 2;
    const y = (band[0] + band[1]) / 2;
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.fillStyle = colours.ground;
    pen.fillRect(middle - wide / 2, y - 8, wide, 16);
    pen.fillStyle = colours.ink;
    pen.fillText(words, middle - wide / 2 + 4, y + 0.5);
  }

  row(at) {
    const { context: pen, colours } = this;
    const { row, y, height } = at;
    const edge = this.layout.width;
    const named = row.lane.kind !== "host";
    let drawn = -1;
    for (let i = firstVisible(row, this.from); i < row.start.length && row.start[i] <= this.to; i++) {
      const right = Math.min(this.x(row.end[i]), edge);
      if (right <= drawn) continue;
      const left = Math.max(this.x(row.start[i]), this.layout.gutter - 2);
      const wide = right - left;
      const look = LOOKS[row.lane.look[row.index[i]]];
      const thin = named || look === "sync" ? 0 : 8;
      pen.fillStyle = colours[look];
      pen.fillRect(left, y + thin, wide > 3 ? wide - 1 : Math.max(1, wide), height - 2 * thin);
      drawn = left + Math.max(1, wide);
      if (named && wide > 28) {
        const ink = look === "range" || look === "merged" ? colours["range-ink"] : colours["on-dark"];
        this.caption(DATA.strings[row.lane.name[row.index[i]]], left, right, y + height / 2 + 0.5, ink);
      }
    }
  }

  waits(placed) {
    const pen = this.context;
    const flags = new Map();
    for (const wait of placed.variant.waits) {
      const host = placed.hosts.get(wait.thread);
      if (!host || wait.end < this.from || wait.start > this.to) continue;
      const left = this.x(wait.start);
      const wide = this.x(wait.end) - left;
      const look = lookOfWait(wait);
      const strong = look === "sync" || look === "asked";
      pen.fillStyle = this.colours[look];
      // What is narrower than a pixel is paler, so that many short waits do not look like one long one.
      pen.globalAlpha = Math.min(1, Math.max(0.3, wide));
      pen.fillRect(left, strong ? host.y - 1 : host.y + 6, Math.max(1.5, wide), strong ? host.height + 2 : host.height - 12);
      pen.globalAlpha = 1;
      if (!strong) continue;
      if (!flags.has(host)) flags.set(host, []);
      flags.get(host).push({ wait, left, look });
    }
    for (const [host, raised] of flags) this.flags(host, raised);
  }

  // A flag, so that a wait is found however far one has zoomed out; flags that would touch are one, with a count.
  flags(host, raised) {
    const pen = this.context;
    raised.sort((a, b) => a.left - b.left);
    const groups = [];
    for (const each of raised) {
      const last = groups[groups.length - 1];
      if (last && each.left - last[last.length - 1].left < FLAG) last.push(each);
      else groups.push([each]);
    }
    groups.forEach((group, index) => {
      const next = index + 1 < groups.length ? groups[index + 1][0].left : this.layout.width + FLAG;
      const look = group.some((each) => each.look === "sync") ? "sync" : "asked";
      this.flag(group, look, host.y - FLAGS + 2, next);
    });
  }

  flag(group, look, top, next) {
    const pen = this.context;
    const { wait, left } = group[0];
    pen.fillStyle = this.colours[look];
    pen.beginPath();
    pen.moveTo(left, top);
    pen.lineTo(left + 9, top + 4.5);
    pen.lineTo(left, top + 9);
    pen.fill();
    pen.fillRect(left, top, 1.5, FLAGS);
    pen.fillRect(left, top + FLAGS - 4, group[group.length - 1].left - left, 1);
    const finding = DATA.findings[wait.finding];
    const words = group.length > 1 || !finding ? `${group.length} syncs` : `${finding.code} ${shortPlace(finding, wait)}`;
    const start = Math.max(left, this.layout.gutter - FLAG) + FLAG;
    if (next - start < words.length * GLYPH + 6) return;
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.fillStyle = this.colours[`${look}-ink`];
    pen.fillText(words, start, top + 5);
  }

  selection(placed, selected) {
    const { context: pen, colours } = this;
    pen.strokeStyle = colours.focus;
    pen.lineWidth = 2;
    if (selected.wait !== undefined) {
      const wait = placed.variant.waits[selected.wait];
      const host = placed.hosts.get(wait.thread);
      if (!host) return;
      const left = this.x(wait.start);
      pen.strokeRect(left - 2, host.y - 3, Math.max(3, this.x(wait.end) - left) + 4, host.height + 6);
      const band = placed.gpus.get(wait.gpu);
      if (band && wait.idle && wait.idle[1]) {
        const start = this.x(wait.idle[0]);
        pen.strokeRect(start - 1, band[0] - 2, this.x(wait.idle[0] + wait.idle[1]) - start + 2, band[1] - band[0] + 4);
      }
      return;
    }
    const at = placed.rows.find((each) => each.row === selected.row);
    const left = this.x(selected.row.start[selected.at]);
    pen.strokeRect(left - 1, at.y - 1, Math.max(2, this.x(selected.row.end[selected.at]) - left) + 2, at.height + 2);
  }

  labels() {
    const { context: pen, colours, layout } = this;
    for (const placed of layout.placed) {
      pen.font = BOLD;
      pen.fillStyle = colours.ink;
      const mark = placed.variant.modelled ? " (modelled)" : "";
      pen.fillText(cropped(placed.variant.name + mark, layout.width - 16, BOLD_WIDTH), 4, placed.top + TITLE / 2 + 2);
      if (placed.without !== null) {
        pen.fillText(cropped(withoutWords(placed.variant), layout.width - 16, BOLD_WIDTH), 4, placed.without + TITLE / 2 + 2);
      }
      pen.font = FONT;
      pen.fillStyle = colours.muted;
      for (const at of placed.rows) {
        if (!at.labelled) continue;
        const y = layout.narrow ? at.y - LABEL / 2 - (at.row.lane.kind === "host" ? FLAGS : 1) : at.y + at.height / 2 + 1;
        pen.fillText(cropped(at.row.lane.label, layout.narrow ? layout.width - 8 : layout.gutter - 12, GLYPH), 4, y);
      }
    }
  }

  caption(words, left, right, y, colour) {
    const start = Math.max(left, this.layout.gutter);
    const end = Math.min(right, this.layout.width);
    if (end - start < 28) return;
    const pen = this.context;
    pen.font = FONT;
    pen.textBaseline = "middle";
    pen.fillStyle = colour;
    pen.fillText(cropped(words, end - start - 8, GLYPH), start + 4, y);
  }
}
