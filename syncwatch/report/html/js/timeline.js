// Answers: how does one move about in it? Zoom, pan and selection, by pointer, wheel, touch, keys and buttons.

const NEAREST = 100;

class Timeline {
  constructor(host) {
    this.host = host;
    this.tip = document.getElementById("tip");
    this.panel = document.getElementById("detail");
    this.painter = new Painter(host.querySelector("canvas"));
    this.extent = padded(extentOf(DATA.variants), 0.02);
    this.selected = null;
    this.zoom = d3.zoom()
      .filter((event) => (event.type === "wheel" ? this.takesWheel(event) : !event.button && !event.ctrlKey))
      .wheelDelta(wheelDelta)
      .duration(0)
      .on("zoom", ({ transform }) => { this.transform = transform; this.soon(); });
    this.surface = d3.select(host).call(this.zoom);
    this.repaint = () => { this.pending = false; this.paint(); };
    this.theme();
    this.resize(padded(firstStepOf(DATA.variants, this.extent), 0.03));
    this.listen();
  }

  listen() {
    const { host } = this;
    new ResizeObserver(() => { if (host.clientWidth && host.clientWidth !== this.layout.width) this.resize(this.domain()); }).observe(host);
    host.addEventListener("click", (event) => { this.select(this.under(event)); host.focus({ preventScroll: true }); });
    host.addEventListener("pointermove", (event) => this.point(event));
    host.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    host.addEventListener("wheel", (event) => this.sideways(event), { passive: false });
    host.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : KEYS[event.key];
      if (act) { event.preventDefault(); this.act(act); }
    });
    for (const button of document.querySelectorAll("[data-act]")) {
      button.addEventListener("click", () => this.act(button.dataset.act));
    }
    for (const button of document.querySelectorAll("[data-without]")) {
      button.addEventListener("click", () => this.toggle(button));
    }
    for (const button of document.querySelectorAll("[data-wait]")) {
      button.addEventListener("click", () => this.goTo(...button.dataset.wait.split(":").map(Number)));
    }
  }

  // The wheel scrolls the page until the timeline has the focus, or Ctrl is held.
  takesWheel(event) {
    return Math.abs(event.deltaY) >= Math.abs(event.deltaX) && !event.shiftKey && (event.ctrlKey || event.metaKey || document.activeElement === this.host);
  }

  sideways(event) {
    const distance = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (!distance || (!event.shiftKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY))) return;
    event.preventDefault();
    this.surface.call(this.zoom.translateBy, -distance / this.transform.k, 0);
  }

  theme() {
    this.painter.theme(this.host);
    if (this.layout) this.paint();
  }

  resize(domain) {
    this.layout = layoutOf(DATA.variants, this.host.clientWidth);
    const { width, gutter, height } = this.layout;
    this.painter.resize(this.layout);
    this.zoom
      .extent([[gutter, 0], [width, height]])
      .translateExtent([[gutter, 0], [width, height]])
      .scaleExtent([1, Math.max(2, (this.extent[1] - this.extent[0]) / NEAREST)]);
    this.show(domain);
    this.paint();
  }

  // The time at a place of the unzoomed timeline, and the way back.
  timeAt(x) {
    const { width, gutter } = this.layout;
    return this.extent[0] + ((x - gutter) / (width - gutter)) * (this.extent[1] - this.extent[0]);
  }

  placeOf(time) {
    const { width, gutter } = this.layout;
    return gutter + ((time - this.extent[0]) / (this.extent[1] - this.extent[0])) * (width - gutter);
  }

  domain() {
    const { width, gutter } = this.layout;
    return [this.timeAt(this.transform.invertX(gutter)), this.timeAt(this.transform.invertX(width))];
  }

  show([from, to]) {
    const { gutter } = this.layout;
    const k = (this.extent[1] - this.extent[0]) / (to - from);
    const place = d3.zoomIdentity.translate(gutter, 0).scale(k).translate(-this.placeOf(from), 0);
    this.surface.call(this.zoom.transform, place);
  }

  soon() {
    if (!this.pending) {
      this.pending = true;
      requestAnimationFrame(this.repaint);
    }
  }

  paint() {
    const domain = this.domain();
    this.painter.paint(this.layout, domain, this.selected);
    Object.assign(this.host.dataset, { from: domain[0], to: domain[1], gutter: this.layout.gutter });
  }

  under(event) {
    const { left, top } = this.host.getBoundingClientRect();
    const [from, to] = this.domain();
    const pixel = (to - from) / (this.layout.width - this.layout.gutter);
    const x = event.clientX - left - this.host.clientLeft;
    if (x < this.layout.gutter) return null;
    return hit(this.layout, x, event.clientY - top - this.host.clientTop, from + (x - this.layout.gutter) * pixel, pixel);
  }

  point(event) {
    const found = event.pointerType === "touch" || event.buttons ? null : this.under(event);
    this.tip.hidden = !found;
    this.host.classList.toggle("over", Boolean(found));
    if (!found) return;
    this.tip.textContent = tipOf(found);
    const { left, top, width } = this.host.getBoundingClientRect();
    const x = event.clientX - left;
    this.tip.style.left = `${Math.max(0, Math.min(x + 14, width - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${event.clientY - top + 16}px`;
  }

  select(found) {
    if (!found) return;
    this.selected = found;
    showDetail(this.panel, found);
    this.paint();
  }

  act(name) {
    const [from, to] = this.domain();
    const { width, gutter } = this.layout;
    if (name === "in" || name === "out") this.surface.call(this.zoom.scaleBy, name === "in" ? 1.6 : 1 / 1.6);
    else if (name === "left" || name === "right") {
      this.surface.call(this.zoom.translateBy, ((name === "left" ? 0.2 : -0.2) * (width - gutter)) / this.transform.k, 0);
    } else if (name === "step") this.show(padded(firstStepOf(DATA.variants, this.extent), 0.03));
    else if (name === "all") this.show(this.extent);
    else if (name === "read" && this.selected) showDetail(this.panel, this.selected);
    else this.neighbour(name === "previous" ? -1 : 1, (from + to) / 2);
  }

  // The next wait in time, of all variants; without a selection the one nearest to the middle of what is seen.
  neighbour(direction, middle) {
    const order = this.order();
    if (!order.length) return;
    const now = this.selected && this.selected.wait !== undefined
      ? order.findIndex((each) => each.variant === this.selected.variant && each.wait === this.selected.wait)
      : -1;
    const next = now < 0
      ? d3.least(order, (each) => Math.abs(timeOf(each) - middle))
      : order[Math.min(order.length - 1, Math.max(0, now + direction))];
    this.bring(next, false);
    this.select(next);
  }

  order() {
    if (!this.ordered) {
      this.ordered = DATA.variants.flatMap((variant, index) => variant.waits
        .map((wait, at) => ({ variant: index, wait: at, counts: !wait.pacing && !wait.allocation }))
        .filter((each) => each.counts))
        .sort((a, b) => a.variant - b.variant || timeOf(a) - timeOf(b));
    }
    return this.ordered;
  }

  goTo(variant, wait) {
    const found = { variant, wait };
    this.bring(found, true);
    this.select(found);
    document.getElementById("timeline-section").scrollIntoView({ block: "start" });
    this.host.focus({ preventScroll: true });
  }

  // Draws the first steps without a line under the steps, or takes them off again.
  toggle(button) {
    const [index, number] = button.dataset.without.split(":").map(Number);
    const variant = DATA.variants[index];
    const wanted = variant.without[number];
    variant.shown = variant.shown === wanted ? null : wanted;
    for (const each of document.querySelectorAll(`[data-without^="${index}:"]`)) {
      each.setAttribute("aria-pressed", String(each === button && variant.shown !== null));
    }
    this.selected = null;
    this.resize(variant.shown ? padded([wanted.steps[0][0], Math.max(wanted.recorded_end, wanted.end)], 0.03) : this.domain());
    showWithout(this.panel, variant);
    document.getElementById("timeline-section").scrollIntoView({ block: "start" });
  }

  // Pans to a wait that is out of view; `near` also zooms until it and its bubble are well seen.
  bring({ variant, wait }, near) {
    const it = DATA.variants[variant].waits[wait];
    const end = it.idle ? Math.max(it.end, it.idle[0] + it.idle[1]) : it.end;
    const [from, to] = this.domain();
    const room = Math.max(8 * (end - it.start), 20 * NEAREST);
    const span = near && to - from > room ? room : to - from;
    if (span === to - from && it.start >= from && end <= to) return;
    const middle = (it.start + end) / 2;
    this.show([middle - span / 2, middle + span / 2]);
  }
}

const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", 0: "step", Home: "step",
  a: "all", A: "all", n: "next", N: "next", p: "previous", P: "previous", Enter: "read",
};

function timeOf({ variant, wait }) {
  return DATA.variants[variant].waits[wait].start;
}

function padded([from, to], part) {
  const pad = (to - from) * part;
  return [from - pad, to + pad];
}

// As d3's, but that a notch of a wheel with Ctrl, unlike a pinch, is no ten notches.
function wheelDelta(event) {
  const unit = event.deltaMode === 1 ? 0.05 : event.deltaMode ? 1 : 0.002;
  return -event.deltaY * unit * (event.ctrlKey && Math.abs(event.deltaY) < 20 ? 10 : 1);
}
